/**
 * Follows tasks by polls, or by a stream.
 *
 * @import { Stream } from './stream.js'
 * @import { Batch, Estimate, Page, Poll, Sample, State, Status, WatchOptions } from './types.js'
 */
import type { Batch, Estimate, Page, Poll, State, Status, WatchOptions } from './types.js';
/** Turbo replaces the element on each visit. */
export declare function pageConfig(): Page;
/** The completed share in percent, rounded down to one decimal. @param {Status} status */
export declare function percentage({ status, current, length }: Status): number | undefined;
/** Follows one task. */
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
  /** Expected end time. */
  end: number;
  askedAt: number;
  /** Whether an answer came before the end. */
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
  url: string;
  /** @type {Set<Watch>} */
  watches: Set<Watch>;
  /** Of the server, which rounds its time down to a second. */
  clockOffset: number;
  /** The poller that bars share. @param {string} url */
  static of(url: string): ProgressPoller;
  /** @param {string} url */
  constructor(url: string);
  /** @param {Watch} watch */
  add(watch: Watch): void;
  /** @param {Watch} watch */
  remove(watch: Watch): void;
  /** @param {number} time of the next poll, at the latest */
  schedule(time: number): void;
  /** The requests for some tasks. @param {{ id: string }[]} tasks @param {string} [base] */
  batches(
    tasks: {
      id: string;
    }[],
    base?: string,
  ): Batch[];
  /** @param {string[]} ids @param {Record<string, Status | undefined>} answers @param {number} now */
  receive(ids: string[], answers: Record<string, Status | undefined>, now: number): void;
  /** Returns the `Retry-After` in ms. @param {Headers} headers */
  readHeaders(headers: Headers): number;
  /** @param {string[]} ids @param {(watch: Watch) => void} callback */
  forEach(ids: string[], callback: (watch: Watch) => void): void;
  sweep(): void;
}
