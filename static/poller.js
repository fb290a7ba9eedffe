/**
 * Follows tasks, with no need of a page.
 *
 * @import { Clock, Poll, PollerOptions, State, Status, WatchOptions } from './types.js'
 */

/** The ends. */
const OVER = ['finished', 'failed', 'cancelled', 'lost', 'unknown', 'signed-out', 'forbidden'];
/** Status words that are states. */
const WORDS = ['finished', 'failed', 'cancelled', 'stalled', 'cancelling'];
/** Polls in a task's expected time. */
const POLLS = 36;
/** First guesses are rough: an interval grows by this factor at most. */
const TRUST = 1.5;
/** Where nothing can be expected, it grows by this one, up to this many ms. */
const RISE = 1.15;
const CALM = 2000;
/** Positions to measure a rate over. */
const SAMPLES = 8;
/** Misses in a row that make a task lost. */
const MISSES = 3;
/** Ids and characters that a request may have. */
const MOST_IDS = 50;
const LONGEST_URL = 4096;
/** Ms until a request is given up. */
const TIMEOUT = 10000;
/** Ms to wait after errors, doubled each time. */
const FIRST_RETRY = 1000;
const LAST_RETRY = 30000;
/** Ms after an expected end to look for it. */
const GRACE = 100;
/** Of this many bars one is always about to end: no poll comes early for it. */
const CROWD = 10;
/** Answers for all ids alike; a redirect has status 0.
 * @type {Record<number, State>} */
const REFUSALS = { 0: 'signed-out', 400: 'unknown', 401: 'signed-out', 403: 'forbidden', 414: 'unknown' };

/**
 * Percent done, rounded down to a tenth; undefined where the status does not tell.
 * @param {Status} status
 */
export function percentage({ status, current, length }) {
  if (status === 'finished') return 100;
  const done = current ?? 0;
  if (typeof done !== 'number' || typeof length !== 'number' || length < 0) return undefined;
  return done < length ? Math.floor((Math.max(done, 0) / length) * 1000) / 10 : 100;
}

/** @param {Status} status @returns {State} */
function stateOf(status) {
  const word = status.status;
  if (word === 'pending' || word === 'unknown') return 'waiting';
  if (WORDS.includes(word)) return /** @type {State} */ (word);
  return percentage(status) === undefined ? 'indeterminate' : 'running';
}

/** A bar's view of a task; it forgets nothing while it is not polled. */
export class Watch {
  #listener;
  #interval;
  #misses = 0;
  /** @type {number | undefined} */
  #unknownSince;
  /** Positions, and when each was first seen. @type {{at: number, current: number}[]} */
  #samples = [];

  /**
   * @param {string} id
   * @param {(watch: Watch) => void} listener called after each change of state or status
   * @param {WatchOptions} [options]
   */
  constructor(id, listener, { status = { status: 'unknown' }, min = 500, max = 5000, patience = 30000 } = {}) {
    this.id = id;
    this.#listener = listener;
    this.status = status;
    this.state = stateOf(status);
    this.min = min;
    this.max = max;
    this.patience = patience;
    this.#interval = min;
  }

  get known() {
    return this.status.status !== 'unknown';
  }

  get over() {
    return OVER.includes(this.state);
  }

  /** Ms from poll to poll. */
  get interval() {
    return Math.min(Math.max(this.#interval, this.min), this.max);
  }

  /**
   * @param {Status} status what the server says
   * @param {number} now ms
   */
  answer(status, now) {
    if (status.status !== 'unknown') {
      const state = stateOf(status);
      if (this.state === 'waiting' && state !== 'waiting') this.#interval = this.min;
      this.#misses = 0;
      this.become(state, status);
    } else if (this.known) {
      this.#misses += 1;
      this.become(this.#misses < MISSES ? stateOf(this.status) : 'lost');
    } else {
      this.#unknownSince ??= now;
      this.become(now - this.#unknownSince < this.patience ? 'waiting' : 'unknown');
    }
    this.#pace(now);
  }

  /** @param {State} state @param {Status} [status] */
  become(state, status = this.status) {
    const same = state === this.state && JSON.stringify(status) === JSON.stringify(this.status);
    if (this.over || same) return;
    this.state = state;
    this.status = status;
    // Later: a listener that throws disturbs nobody.
    queueMicrotask(() => this.#listener(this));
  }

  /**
   * Ms until the expected end, negative if overdue; undefined where nothing can be expected.
   * @param {number} now ms
   */
  left(now) {
    const rate = this.#rate(now);
    if (!rate) return undefined;
    const length = Number(this.status.length);
    // A position is older than its first sight: the freshest one promises the earliest end.
    return Math.min(...this.#samples.map(({ at, current }) => at + (length - current) / rate)) - now;
  }

  /** @param {number} now */
  #pace(now) {
    const { current, length } = this.status;
    const last = this.#samples.at(-1)?.current ?? -Infinity;
    if (typeof current !== 'number' || typeof length !== 'number' || current < last) this.#samples = [];
    else if (current > last) this.#samples = [...this.#samples, { at: now, current }].slice(-SAMPLES);
    const rate = this.#rate(now);
    this.#interval = rate
      ? Math.min(Number(length) / rate / POLLS, this.interval * TRUST)
      : Math.min(this.interval * RISE, CALM);
  }

  /**
   * Units per ms; undefined once nothing has moved for longer than it is measured over.
   * @param {number} now
   */
  #rate(now) {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (!first || !last || now - last.at > last.at - first.at) return undefined;
    return (last.current - first.current) / (last.at - first.at) || undefined;
  }
}

/** @type {Clock} */
const realClock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** Those that have something to do. @type {Map<string, ProgressPoller>} */
const pollers = new Map();

/** Follows a task. @type {Poll} */
export const poll = (url, id, listener, options) => {
  const poller = ProgressPoller.of(url);
  const watch = new Watch(id, ({ status, state }) => listener(status, state), options);
  poller.add(watch);
  return () => poller.remove(watch);
};

/** Polls a status URL for any number of watches; without any it does nothing. */
export class ProgressPoller {
  #url;
  #fetch;
  #clock;
  #page;
  #random;
  /** @type {Set<Watch>} */
  #watches = new Set();
  /** @type {BroadcastChannel | undefined} */
  #channel;
  /** @type {any} */
  #timer;
  #due = Infinity;
  /** The poll under way. @type {AbortController | undefined} */
  #flight;
  #sent = 0;
  #failures = 0;
  /** Nothing is asked before. */
  #embargo = 0;

  /** @param {string} url the status URL @returns the poller that the page's bars share */
  static of(url) {
    const { href } = new URL(url, globalThis.document?.baseURI);
    const poller = pollers.get(href) ?? new ProgressPoller(href);
    pollers.set(href, poller);
    return poller;
  }

  /**
   * @param {string} url the absolute status URL
   * @param {PollerOptions} [options]
   */
  constructor(url, options = {}) {
    this.#url = url;
    this.#fetch = options.fetch ?? ((...request) => fetch(...request));
    this.#clock = options.clock ?? realClock;
    this.#page = options.page ?? globalThis.document;
    this.#random = options.random ?? Math.random;
  }

  /** @param {Watch} watch asked for soon, at once if nothing is known of it */
  add(watch) {
    if (watch.over || this.#watches.has(watch)) return;
    if (!this.#watches.size) this.#open();
    this.#watches.add(watch);
    this.#arrange(this.#clock.now() + (watch.known ? this.#about(watch.min) : 0));
  }

  /** @param {Watch} watch */
  remove(watch) {
    if (this.#watches.delete(watch) && !this.#watches.size) this.#close();
  }

  #open() {
    this.#page?.addEventListener('visibilitychange', this.#turn);
    // The server tells an end for a minute only: a hidden tab hears of it from the others.
    this.#channel = new BroadcastChannel(`pyramid-progress ${this.#url}`);
    this.#channel.onmessage = ({ data: [id, status] }) => {
      this.#tell([id], (watch) => watch.answer(status, this.#clock.now()));
      this.#sweep();
    };
  }

  #close() {
    this.#flight?.abort();
    this.#flight = undefined;
    this.#cancel();
    this.#page?.removeEventListener('visibilitychange', this.#turn);
    this.#channel?.close();
    if (pollers.get(this.#url) === this) pollers.delete(this.#url);
  }

  #turn = () => {
    this.#cancel();
    this.#arrange(this.#clock.now());
  };

  #cancel() {
    this.#clock.clearTimeout(this.#timer);
    this.#due = Infinity;
  }

  /** @param {number} ms @returns {number} half to all of it: pages do not march in step */
  #about(ms) {
    return (ms * (1 + this.#random())) / 2;
  }

  /** @param {number} wish when to poll, if not sooner */
  #arrange(wish) {
    const at = Math.max(wish, this.#embargo);
    if (at >= this.#due) return;
    this.#cancel();
    this.#due = at;
    if (this.#flight || this.#page?.hidden) return;
    this.#timer = this.#clock.setTimeout(() => this.#poll(), at - this.#clock.now());
  }

  async #poll() {
    const flight = (this.#flight = new AbortController());
    const timeout = this.#clock.setTimeout(() => flight.abort(), TIMEOUT);
    this.#sent = this.#clock.now();
    this.#embargo = this.#sent + Math.min(...[...this.#watches].map(({ min }) => min));
    this.#cancel();
    const waits = await Promise.all(this.#batches().map((ids) => this.#ask(ids, flight)));
    this.#clock.clearTimeout(timeout);
    if (this.#flight !== flight) return;
    this.#flight = undefined;
    this.#sweep();
    if (this.#watches.size) this.#goOn(Math.max(...waits));
  }

  /** @param {number} wait ms that the server asks for; 0 after another error, negative after none */
  #goOn(wait) {
    const now = this.#clock.now();
    const wish = this.#due;
    this.#cancel();
    if (wait < 0) {
      this.#failures = 0;
      this.#arrange(Math.min(wish, now + this.#pause(now)));
    } else {
      this.#embargo = Math.max(this.#embargo, now + wait * (1 + this.#random() / 10));
      this.#arrange(now + this.#about(Math.min(FIRST_RETRY * 2 ** this.#failures, LAST_RETRY)));
      this.#failures += 1;
    }
  }

  /** @param {number} now @returns {number} ms until the next poll */
  #pause(now) {
    const watches = [...this.#watches];
    // A page that needs more requests for a poll makes fewer polls.
    const stretch = Math.sqrt(this.#batches().length);
    const shortest = Math.min(...watches.map(({ interval, max }) => Math.min(interval * stretch, max)));
    const interval = shortest * (0.98 + this.#random() / 25);
    const pauses = watches.map((watch) => {
      // From poll to poll; yet a slow server has peace in between.
      const regular = Math.max(interval - (now - this.#sent), watch.min);
      const left = watch.left(now) ?? Infinity;
      // The longer it is overdue, the less it is worth to look for.
      const end = left > 0 ? left + GRACE : -left / 2;
      const least = Math.max(watch.min, (regular * watches.length) / CROWD);
      return Math.min(regular, Math.max(least, end));
    });
    return Math.min(...pauses);
  }

  /** @returns {string[][]} the ids of each request */
  #batches() {
    /** @type {string[][]} */
    const batches = [];
    let length = Infinity;
    for (const id of new Set([...this.#watches].map((watch) => watch.id))) {
      const size = query([id]).length + 1;
      if (length + size > LONGEST_URL || batches.at(-1)?.length === MOST_IDS) {
        batches.push([]);
        length = this.#url.length;
      }
      batches.at(-1)?.push(id);
      length += size;
    }
    return batches;
  }

  /** @param {string[]} ids @param {AbortController} flight @returns {Promise<number>} for `#goOn` */
  async #ask(ids, flight) {
    let response, answer;
    let news = true;
    try {
      response = await this.#fetch(this.#url + (this.#url.includes('?') ? '&' : '?') + query(ids), {
        headers: { Accept: 'application/json' },
        cache: 'no-store',
        // A status is never elsewhere: a redirect leads to a sign-in page, maybe another site's.
        redirect: 'manual',
        signal: flight.signal,
      });
      if (response.ok) answer = await response.json();
    } catch (error) {
      // One lost request is no news: the next one comes soon.
      news = this.#failures > 0 || !(error instanceof TypeError);
    }
    if (this.#flight !== flight) return -1;
    if (answer && typeof answer === 'object') {
      this.#hand(ids, ids.length > 1 ? answer : { [ids[0]]: answer });
      return -1;
    }
    const refusal = response && REFUSALS[response.status];
    if (refusal === 'unknown' && ids.length > 1) {
      // One of them is no id: find it, for the others' sake.
      const middle = ids.length >> 1;
      const halves = [ids.slice(0, middle), ids.slice(middle)];
      return Math.max(...(await Promise.all(halves.map((half) => this.#ask(half, flight)))));
    }
    if (news) this.#tell(ids, (watch) => watch.become(refusal ?? 'trouble'));
    if (refusal) return -1;
    return response ? retryAfter(response.headers) : 0;
  }

  /** @param {string[]} ids @param {Record<string, any>} answers */
  #hand(ids, answers) {
    this.#tell(ids, (watch) => {
      const answer = answers[watch.id];
      const status = typeof answer?.status === 'string' ? answer : { status: 'unknown' };
      watch.answer(status, this.#sent);
      if (status.status === 'finished') this.#channel?.postMessage([watch.id, status]);
    });
  }

  /** @param {string[]} ids @param {(watch: Watch) => void} what */
  #tell(ids, what) {
    for (const watch of this.#watches) if (ids.includes(watch.id)) what(watch);
  }

  #sweep() {
    for (const watch of this.#watches) if (watch.over) this.remove(watch);
  }
}

/** @param {string[]} ids */
function query(ids) {
  return new URLSearchParams(ids.map((id) => ['progress_id', id])).toString();
}

/** @param {Headers} headers @returns {number} ms; a date counts by the server's clock (RFC 9110) */
function retryAfter(headers) {
  const value = headers.get('Retry-After') ?? '';
  const now = Date.parse(headers.get('Date') ?? '') || Date.now();
  const wait = Number(value) * 1000 || Date.parse(value) - now;
  return wait > 0 ? Math.min(wait, 2 ** 30) : 0; // a timer holds no more than twice that
}
