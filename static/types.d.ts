/** What goes through the widget's modules. */

/** A status as the server tells it; members that are not named here are passed on untouched. */
export interface Status {
  /**
   * `unknown`, `pending`, `running`, `finished`, `failed`, `cancelled`, `stalled`, `cancelling`, or a
   * word of the application's own.
   */
  status: string;
  label?: string;
  message?: string | null;
  /** How much is done, in units of `length`. */
  current?: number | null;
  /** How much there is to do. */
  length?: number | null;
  /** Whether this visitor may ask it to stop. */
  cancellable?: boolean;
  /** A link to what came of it. */
  result?: { url?: string; text?: string } | null;
}

/** What a bar shows. */
export type State =
  /** Not started, or not known yet. */
  | 'waiting'
  | 'running'
  /** Running, without a length that can be used. */
  | 'indeterminate'
  /** Running, but without a sign of life. */
  | 'stalled'
  /** Running, but asked to stop. */
  | 'cancelling'
  | 'finished'
  | 'failed'
  | 'cancelled'
  /** Was known, and is no more. */
  | 'lost'
  /** Never was known. */
  | 'unknown'
  /** There is no usable answer at present. */
  | 'trouble'
  /** The server asks who one is (status 401, or a redirect). */
  | 'signed-out'
  /** The server does not tell this visitor (status 403). */
  | 'forbidden';

/** What can be told of a steady pace. */
export interface Estimate {
  /** Units of `length` per ms. */
  rate: number;
  /** Ms until the end; Infinity where there is no length. */
  left: number;
}

export interface WatchOptions {
  /** What is known already. */
  status?: Status;
  /** The shortest time between two polls, in ms: 500. */
  min?: number;
  /** The longest time between two polls, in ms: 5000. */
  max?: number;
  /** How long a task may be unknown from the start, in ms: 30000. */
  patience?: number;
}

/**
 * Follows a task, for a page that draws its own picture; it shares the poller of the page's bars.
 * `url` is the status URL, absolute or relative to the page; `listener` is called after each change.
 * What it returns ends it.
 */
export type Poll = (
  url: string,
  id: string,
  listener: (status: Status, state: State, estimate?: Estimate) => void,
  options?: WatchOptions,
) => () => void;

/** What the page says to its bars: the content of `<meta name="pyramid-progress">`. */
export interface Page {
  /** The status URL. */
  src?: string;
  /** The language of the words. */
  lang?: string;
  /** What `poll-min` and `poll-max` are where a bar does not say, in seconds. */
  min?: number;
  max?: number;
  /**
   * By state; `progress` names a bar without a label, `result` a link without a text; `left` and `rate`
   * tell of the pace, with `{}` in the place of a time or a count.
   */
  words?: Record<string, string>;
}

/**
 * The attributes of `<pyramid-progress>`; each has its property. The element writes its attribute
 * `state`, and reads once, from `status`, the JSON text of the status that the server rendered.
 */
export interface Attributes {
  /** The task's id. */
  'progress-id': string;
  /** The status URL; without it, the page's. */
  src?: string;
  /** The shortest and the longest time between two polls, in seconds: the page's, or 0.5 and 5. */
  'poll-min'?: number;
  'poll-max'?: number;
  /** How long a task may be unknown from the start, in seconds: 30. */
  patience?: number;
}

/** The events of `<pyramid-progress>`. They bubble; none is fired for what the server rendered. */
export interface Events {
  /** After each change of what is shown. */
  'progress:update': CustomEvent<Status>;
  /** After the update that tells the end. */
  'progress:finished': CustomEvent<Status>;
  'progress:failed': CustomEvent<Status>;
  'progress:cancelled': CustomEvent<Status>;
  /** After an update to the states `trouble`, `lost`, `unknown`, `signed-out` or `forbidden`. */
  'progress:error': CustomEvent<Status>;
}
