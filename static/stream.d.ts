/**
 * Follows tasks by server-sent events, if the page's configuration has their URL.
 *
 * @import { ProgressPoller, Watch } from './poller.js'
 * @import { Status } from './types.js'
 */
import type { ProgressPoller, Watch } from './poller.js';
/** Parses an event stream that arrives in chunks. */
export declare class EventParser {
  #private;
  /** Returns the events that a piece completes. @param {string} text */
  push(text: string): {
    type: string;
    data: string;
  }[];
}
/** The stream for the tasks of a poller, if there is one. */
export declare class Stream {
  #private;
  /** @param {ProgressPoller} poller @param {string} url @param {string} [channel] */
  constructor(poller: ProgressPoller, url: string, channel?: string);
  close(): void;
  /** Whether a task is not polled. @param {string} id */
  delivers(id: string): boolean;
  /** Follows a task, too. @param {Watch} watch */
  add(watch: Watch): void;
}
