/**
 * Follows tasks by polling their status URL.
 *
 * @import { Estimate, Page, Poll, Sample, State, Status, WatchOptions } from './types.js'
 */
import type { Estimate, Page, Poll, State, Status, WatchOptions } from './types.js';
/** Turbo replaces it when it visits another page. */
export declare function pageConfig(): Page;
/** The completed share in percent, rounded down to one decimal. @param {Status} status */
export declare function percentage({ status, current, length }: Status): number | undefined;
/** What one bar knows of its task, also while it is not polled. */
export declare class Watch {
  #private;
  id: string;
  status: Status;
  previousEnd: Status | undefined;
  isAttached: () => boolean;
  min: number;
  max: number;
  patience: number;
  delay: number;
  state: State;
  /** Its expected time. */
  end: number;
  askedAt: number;
  /** Whether an answer showed the task before its end. */
  wasActive: boolean;
  /** @type {Estimate | undefined} */
  estimate: Estimate | undefined;
  /** @param {string} id @param {(watch: Watch) => void} listener @param {WatchOptions} [options] */
  constructor(id: string, listener: (watch: Watch) => void, options?: WatchOptions);
  get known(): boolean;
  get over(): boolean;
  get finalStatus(): Status | undefined;
  get interval(): number;
  /** @param {number} now */
  isDue(now: number): boolean;
  /** @param {Status} status @param {number} now */
  answer(status: Status, now: number): void;
  /** @param {State} state @param {Status} [status] @param {Estimate} [estimate] */
  become(state: State, status?: Status, estimate?: Estimate): void;
}
/** @type {Poll} */
export declare const poll: Poll;
/** Polls a status URL while it has watches. */
export declare class ProgressPoller {
  #private;
  /** Of the server, which rounds its time down to a second. */
  clockOffset: number;
  /** The one that the page's bars share. @param {string} url */
  static of(url: string): ProgressPoller;
  /** @param {string} url */
  constructor(url: string);
  /** @param {Watch} watch */
  add(watch: Watch): void;
  /** @param {Watch} watch */
  remove(watch: Watch): void;
}
