/** The types of the widget's modules. All times are in ms. */

import type { PyramidProgressElement } from './progress.js';

/** A status as the server sends it. The widget passes on members that are not named here without a change. */
export interface Status {
  /**
   * `unknown`, `pending`, `running`, `finished`, `failed`, `cancelled`, `stalled`, `cancelling`, or a
   * word of the application's own.
   */
  status: string;
  label?: string;
  message?: string | null;
  /** The completed amount, in units of `length`. */
  current?: number | null;
  /** The total amount. */
  length?: number | null;
  /** When the task was started, as an ISO 8601 UTC time. It identifies the run. */
  started?: string;
  tags?: string[] | null;
  /** Whether this visitor may cancel the task. */
  cancellable?: boolean;
  /** A link to the result of the task. */
  result?: { url?: string; text?: string } | null;
}

/** What a bar shows. */
export type State =
  /** Not started, or not known yet. */
  | 'waiting'
  /** Running, with a length. */
  | 'running'
  /** Running, without a usable length. */
  | 'indeterminate'
  /** Running, but its heartbeats stopped. */
  | 'stalled'
  /** Running, and asked to stop. */
  | 'cancelling'
  /** Complete: its bar is full, and shows the result. */
  | 'finished'
  /** Ended by an error, with a message. */
  | 'failed'
  /** Stopped on request. */
  | 'cancelled'
  /** The task was known, and is unknown now. */
  | 'lost'
  /** The task was never known. The widget keeps asking for it, every 30 s. */
  | 'unknown'
  /** The last poll brought no usable answer, or the server of a stream has trouble. */
  | 'trouble'
  /** The server requires a login (status 401, or a redirect). */
  | 'signed-out'
  /** The server denies this visitor the status (status 403). */
  | 'forbidden';

/** The estimate for a task that moves at a steady rate. */
export interface Estimate {
  /** Units of `length` per ms. */
  rate: number;
  /** The time until the end; Infinity if the task has no length. */
  left: number;
}

/** The options of a watch. */
export interface WatchOptions {
  /** The status that is known already. */
  status?: Status;
  /** The end of an earlier run of the same task id. Answers about that run are ignored. */
  previousEnd?: Status;
  /** The shortest time between two polls: 500. */
  min?: number;
  /** The longest time between two polls: 5000. */
  max?: number;
  /** The time until a task that was never known is reported as `unknown`: 30000. */
  patience?: number;
  /** The time until the first poll, if the status is not known: 0. */
  delay?: number;
  /** Returns whether the watch is still needed. If not, the poller drops it. */
  isAttached?: () => boolean;
}

/**
 * Follows a task, for a page that draws the progress itself. The bars of the page share the poller. If `url` is that of
 * the page configuration, and that has `events`, the task is followed by a stream, like those of the bars.
 *
 * `url` is the status URL, absolute or relative to the page. `listener` is called after each change.
 * The returned function stops following the task.
 */
export type Poll = (
  url: string,
  id: string,
  listener: (status: Status, state: State, estimate?: Estimate) => void,
  options?: WatchOptions,
) => () => void;

/** The configuration of a page: the content of `<meta name="pyramid-progress">`, which the server writes. */
export interface Page {
  /** The status URL. */
  src?: string;
  /** The language of the words. */
  lang?: string;
  /** The defaults of the attributes `poll-min` and `poll-max`. */
  min?: number;
  max?: number;
  /**
   * A key of the visitor's account, which reveals nothing about it. Pages with the same key tell each other
   * of tasks that have finished; without it, a page neither sends nor receives that.
   */
  channel?: string;
  /**
   * The URL of the event streams of the tasks of `src`. At most two pages of an account have a stream at a time; the
   * others poll.
   */
  events?: string;
  words?: Words;
}

/**
 * The words of each state, and more: `progress` names a bar without a label, `result` is the text of a link
 * without one. The others are sentences with names in braces: `left` has `{time}`, `rate` has `{count}`, `pace` has both,
 * `count` has `{current}` and `{length}`, and `days`, `hours`, `minutes` and `seconds` have two units of the
 * elapsed time.
 */
export type Words = Record<string, string>;

/** What a bar showed. */
export interface Shown {
  state: State;
  status: Status;
}

/** The tasks of one request, and its URL. */
export interface Batch {
  ids: string[];
  url: string;
}

/** A position of a task at a time. */
export interface Sample {
  at: number;
  current: number;
  length: unknown;
}

/** The attributes of `<pyramid-progress>` that a page sets. Each is a property as well: `poll-min` is `pollMin`. */
export interface Attributes {
  /**
   * The task's id. Setting it again after the end follows a new run of the same id, as the method
   * `restart()` does.
   */
  'progress-id': string;
  /** The status URL; default: the page's. */
  src?: string;
  /**
   * The shortest time between two polls, at least 100. The server sets the default of a page.
   *
   * @default 500
   */
  'poll-min'?: number;
  /**
   * The longest time between two polls. The server sets the default of a page.
   *
   * @default 5000
   */
  'poll-max'?: number;
  /**
   * The time until a task that was never known is shown as unknown.
   *
   * @default 30000
   */
  patience?: number;
  /**
   * What the page does after the task has finished, once for each run, and not for an end that the server
   * rendered: `reload` loads the page again, `result` follows the link of the result.
   */
  'when-finished'?: 'reload' | 'result';
  /**
   * Whether to hide the amount, such as "420 of 1,000".
   *
   * @default false
   */
  'no-count'?: boolean;
  /**
   * Whether to hide the time since the start.
   *
   * @default false
   */
  'no-elapsed'?: boolean;
}

/** The attributes that the element writes. */
export interface WrittenAttributes {
  /** What is shown, for style sheets. */
  state?: State;
  /**
   * The status as JSON text: the server renders it, and the element writes the end into it, so that a copy of the
   * element shows the end.
   */
  status?: string;
}

/** What the element has for scripts, beside the properties of its attributes. */
export interface Members {
  /** What is shown. */
  readonly state: State;
  /** The last status that was received. */
  readonly status: Status;
  /** Follows a new run of the same task id, and ignores the end that was shown. */
  restart(): void;
}

/** The events of `<pyramid-progress>`. They bubble. None is fired for what the server rendered. */
export interface Events {
  /** After each change of what is shown. */
  'progress:update': CustomEvent<Status>;
  /** At the end, after the update. */
  'progress:finished': CustomEvent<Status>;
  /** At the end of a task that has failed, after the update. */
  'progress:failed': CustomEvent<Status>;
  /** At the end of a task that was cancelled, after the update. */
  'progress:cancelled': CustomEvent<Status>;
  /** After an update to the state `trouble`, `lost`, `unknown`, `signed-out` or `forbidden`. */
  'progress:error': CustomEvent<Status>;
}

/** The CSS custom properties of the style sheet. */
export interface Style {
  /** The fill of a running task. */
  '--pp-color'?: string;
  /** The fill of a finished task. */
  '--pp-finished'?: string;
  /** The fill of a failed or lost task. */
  '--pp-failed'?: string;
  /** The fill of a task that is stalled or being cancelled, or while the connection fails. */
  '--pp-warning'?: string;
  /** The fill of a task that is cancelled, unknown, or hidden from the visitor. */
  '--pp-idle'?: string;
  /** The background of the bar. */
  '--pp-track'?: string;
  /** The colour of secondary text. */
  '--pp-muted'?: string;
  /** The bar's height. */
  '--pp-height'?: string;
  /** The radius of the bar's corners. */
  '--pp-radius'?: string;
  /** The fill of the current state. */
  '--pp-fill'?: string;
}

declare global {
  interface HTMLElementTagNameMap {
    'pyramid-progress': PyramidProgressElement;
  }
  interface HTMLElementEventMap extends Events {}
  interface DocumentEventMap extends Events {}
  interface WindowEventMap extends Events {}
}
