/**
 * Follows tasks, with no need of bars.
 *
 * @import { Estimate, Poll, State, Status, WatchOptions } from './types.js'
 */

const OVER = ['finished', 'failed', 'cancelled', 'lost', 'unknown', 'signed-out', 'forbidden'];
/** Status words that are states. */
const WORDS = ['finished', 'failed', 'cancelled', 'stalled', 'cancelling'];
const POLLS_PER_TASK = 37;
/** Guesses are rough at first: an interval grows by this at most. */
const TRUST = 1.5;
/** Where nothing can be expected, by this one, up to this many ms. */
const RISE = 1.15;
const CALM = 2000;
/** Positions to measure a rate over, and how far the later half of them may be off. */
const SAMPLES = 8;
const STEADY = 1 / 3;
/** Misses in a row that make a task lost. */
const MISSES = 3;
const MOST_IDS = 50;
const LONGEST_URL = 4096;
/** Ms, like all times here. */
const TIMEOUT = 10000;
const FIRST_RETRY = 1000;
const LAST_RETRY = 30000;
/** After an expected end, before looking for it. */
const GRACE = 100;
/** Of so many bars one is always about to end: no poll comes early for it. */
const CROWD = 10;
/** Answers for all ids alike; a redirect has status 0. @type {Record<number, State>} */
const REFUSALS = { 0: 'signed-out', 400: 'unknown', 401: 'signed-out', 403: 'forbidden' };
/** With any other, the server refuses the whole request. */
const AN_ID = /^[^\p{Cc}\p{Cs}]{1,255}$/u;

/** Rounded down to a tenth of a percent. @param {Status} status */
export function percentage({ status, current, length }) {
  if (status === 'finished') return 100;
  const done = current ?? 0;
  if (typeof done !== 'number' || typeof length !== 'number' || length < 0) return;
  return done < length ? Math.floor((Math.max(done, 0) / length) * 1000) / 10 : 100;
}

/** @param {Status} status @returns {State} */
function stateOf(status) {
  const word = status.status;
  if (word === 'pending' || word === 'unknown') return 'waiting';
  if (WORDS.includes(word)) return /** @type {State} */ (word);
  return percentage(status) === undefined ? 'indeterminate' : 'running';
}

/** @typedef {{at: number, current: number, length: unknown}} Sample */

/** A bar's view of a task; nothing is forgotten while it is not polled. */
export class Watch {
  #listener;
  #interval;
  #told;
  #misses = 0;
  /** @type {number | undefined} */
  #unknownSince;
  /** @type {Sample[]} */
  #samples = [];
  /** Expected then, if ever. */
  end = Infinity;
  /** @type {Estimate | undefined} */
  estimate;

  /** @param {string} id @param {(watch: Watch) => void} listener @param {WatchOptions} [options] */
  constructor(id, listener, { status = { status: 'unknown' }, min = 500, max = 5000, patience = 30000 } = {}) {
    this.id = id;
    this.#listener = listener;
    this.status = status;
    this.state = stateOf(status);
    this.min = min;
    this.max = max;
    this.patience = patience;
    this.#interval = min;
    this.#told = JSON.stringify([this.state, status, true]);
  }

  get known() {
    return this.status.status !== 'unknown';
  }

  get over() {
    return OVER.includes(this.state);
  }

  get interval() {
    return Math.min(Math.max(this.#interval, this.min), this.max);
  }

  /** @param {Status} status @param {number} now */
  answer(status, now) {
    let state = stateOf(status);
    if (status.status !== 'unknown') {
      if (this.state === 'waiting' && state !== 'waiting') this.#interval = this.min;
      this.#misses = 0;
    } else {
      status = this.status;
      if (this.known) {
        state = (this.#misses += 1) < MISSES ? stateOf(status) : 'lost';
      } else if (now - (this.#unknownSince ??= now) >= this.patience) {
        state = 'unknown';
      }
    }
    this.become(state, status, this.#measure(status, now));
  }

  /** @param {State} state @param {Status} [status] @param {Estimate} [estimate] */
  become(state, status = this.status, estimate) {
    const told = JSON.stringify([state, status, !estimate]);
    if (this.over || told === this.#told) return;
    this.#told = told;
    this.state = state;
    this.status = status;
    this.estimate = estimate;
    // One that throws disturbs nobody.
    queueMicrotask(() => this.#listener(this));
  }

  /** @param {Status} status @param {number} now @returns {Estimate | undefined} */
  #measure({ current, length }, now) {
    const samples = this.#samples;
    const last = samples.at(-1)?.current ?? -Infinity;
    if (typeof current !== 'number' || current < last) samples.length = 0;
    else if (current > last && samples.push({ at: now, current, length }) > SAMPLES) samples.shift();
    const at = samples.at(-1)?.at ?? 0;
    // Nothing is known once it stands still for longer than it moved.
    const rate = now - at <= at - (samples[0]?.at ?? at) ? rateOf(samples) : NaN;
    const whole = typeof length === 'number' ? length : NaN;
    // A position is older than its first sight: the freshest one promises the earliest end.
    this.end = Math.min(...samples.map((one) => one.at + (whole - one.current) / rate)) || Infinity;
    const pace = whole / rate / POLLS_PER_TASK;
    this.#interval = Math.min(...(pace > 0 ? [pace, this.interval * TRUST] : [this.interval * RISE, CALM]));
    // No promise where the later half belies the whole, or the length grows.
    const later = samples.slice(samples.length >> 1);
    const steady = Math.abs(rateOf(later) / rate - 1) < STEADY && later[0].length === length;
    return steady && later.length > 2 && this.end > now ? { rate, left: this.end - now } : undefined;
  }
}

/** NaN for less than two. @param {Sample[]} samples */
function rateOf([first, ...others]) {
  const last = others.at(-1);
  return last ? (last.current - first.current) / (last.at - first.at) : NaN;
}

/** @type {Map<string, ProgressPoller>} */
const pollers = new Map();

/** @type {Poll} */
export const poll = (url, id, listener, options) => {
  const poller = ProgressPoller.of(url);
  const watch = new Watch(id, ({ status, state, estimate }) => listener(status, state, estimate), options);
  poller.add(watch);
  return () => poller.remove(watch);
};

/** Polls a status URL while there are watches. */
export class ProgressPoller {
  #url;
  /** @type {Set<Watch>} */
  #watches = new Set();
  /** @type {BroadcastChannel | undefined} */
  #channel;
  /** @type {any} */
  #timer;
  #due = Infinity;
  /** @type {AbortController | undefined} */
  #flight;
  #sent = 0;
  #failures = 0;
  /** Nothing is asked before. */
  #embargo = 0;

  /** The one that the page's bars share. @param {string} url */
  static of(url) {
    const { href } = new URL(url, document.baseURI);
    const poller = pollers.get(href) ?? new ProgressPoller(href);
    pollers.set(href, poller);
    return poller;
  }

  /** @param {string} url */
  constructor(url) {
    this.#url = url;
  }

  /** @param {Watch} watch */
  add(watch) {
    if (!AN_ID.test(watch.id)) watch.become('unknown');
    if (watch.over || this.#watches.has(watch)) return;
    if (!this.#watches.size) this.#open();
    this.#watches.add(watch);
    this.#arrange(performance.now() + (watch.known ? this.#about(watch.min) : 0));
  }

  /** @param {Watch} watch */
  remove(watch) {
    if (this.#watches.delete(watch) && !this.#watches.size) this.#close();
  }

  #open() {
    document.addEventListener('visibilitychange', this.#turn);
    // The server forgets an end within a minute: a hidden tab hears of it from the others.
    this.#channel = new BroadcastChannel(this.#url);
    this.#channel.onmessage = ({ data: [id, status] }) => {
      this.#tell([id], (watch) => watch.answer(status, performance.now()));
      this.#sweep();
    };
  }

  #close() {
    this.#flight?.abort();
    this.#flight = undefined;
    this.#cancel();
    document.removeEventListener('visibilitychange', this.#turn);
    this.#channel?.close();
    if (pollers.get(this.#url) === this) pollers.delete(this.#url);
  }

  #turn = () => {
    this.#cancel();
    this.#arrange(performance.now());
  };

  #cancel() {
    clearTimeout(this.#timer);
    this.#due = Infinity;
  }

  /** Half to all of it: pages do not march in step. @param {number} ms */
  #about(ms) {
    return (ms * (1 + Math.random())) / 2;
  }

  /** @param {number} wish when to poll, if not sooner */
  #arrange(wish) {
    const at = Math.max(wish, this.#embargo);
    if (at >= this.#due) return;
    this.#cancel();
    this.#due = at;
    if (this.#flight || document.hidden) return;
    this.#timer = setTimeout(() => this.#poll(), at - performance.now());
  }

  async #poll() {
    const flight = (this.#flight = new AbortController());
    const timeout = setTimeout(() => flight.abort(), TIMEOUT);
    this.#sent = performance.now();
    this.#embargo = this.#sent + Math.min(...[...this.#watches].map(({ min }) => min));
    this.#cancel();
    const waits = await Promise.all(this.#batches().map((ids) => this.#ask(ids, flight)));
    clearTimeout(timeout);
    if (this.#flight !== flight) return;
    this.#flight = undefined;
    this.#sweep();
    if (this.#watches.size) this.#goOn(Math.max(...waits));
  }

  /** @param {number} wait 0 after errors without a Retry-After, negative after none */
  #goOn(wait) {
    const now = performance.now();
    const wish = this.#due;
    this.#cancel();
    if (wait < 0) {
      this.#failures = 0;
      this.#arrange(Math.min(wish, now + this.#pause(now)));
    } else {
      this.#embargo = Math.max(this.#embargo, now + wait * (1 + Math.random() / 10));
      this.#arrange(now + this.#about(Math.min(FIRST_RETRY * 2 ** this.#failures, LAST_RETRY)));
      this.#failures += 1;
    }
  }

  /** @param {number} now */
  #pause(now) {
    const watches = [...this.#watches];
    // A page that needs more requests for a poll makes fewer polls.
    const stretch = Math.sqrt(this.#batches().length);
    const shortest = Math.min(...watches.map(({ interval, max }) => Math.min(interval * stretch, max)));
    const interval = shortest * (0.98 + Math.random() / 25);
    const pauses = watches.map((watch) => {
      // A slow server has peace in between.
      const regular = Math.max(interval - (now - this.#sent), watch.min);
      const left = watch.end - now;
      // The longer it is overdue, the less it is worth to look for.
      const end = left > 0 ? left + GRACE : -left / 2;
      const least = Math.max(watch.min, (regular * watches.length) / CROWD);
      return Math.min(regular, Math.max(least, end));
    });
    return Math.min(...pauses);
  }

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
      response = await fetch(this.#url + (this.#url.includes('?') ? '&' : '?') + query(ids), {
        headers: { Accept: 'application/json' },
        cache: 'no-store',
        // It leads to a sign-in page, maybe another site's.
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
      const answers = ids.length > 1 ? answer : { [ids[0]]: answer };
      this.#tell(ids, (watch) => {
        const told = answers[watch.id];
        const status = typeof told?.status === 'string' ? told : { status: 'unknown' };
        watch.answer(status, this.#sent);
        if (status.status === 'finished') this.#channel?.postMessage([watch.id, status]);
      });
      return -1;
    }
    const refusal = response && REFUSALS[response.status];
    if (news) this.#tell(ids, (watch) => watch.become(refusal ?? 'trouble'));
    if (refusal) return -1;
    return response ? retryAfter(response.headers) : 0;
  }

  /** @param {string[]} ids @param {(watch: Watch) => void} what */
  #tell(ids, what) {
    const asked = new Set(ids);
    for (const watch of this.#watches) if (asked.has(watch.id)) what(watch);
  }

  #sweep() {
    for (const watch of this.#watches) if (watch.over) this.remove(watch);
  }
}

/** @param {string[]} ids */
function query(ids) {
  return ids.map((id) => `progress_id=${encodeURIComponent(id)}`).join('&');
}

/** A date counts by the server's clock. @param {any} headers */
function retryAfter(headers) {
  const value = headers.get('Retry-After');
  const now = Date.parse(headers.get('Date')) || Date.now();
  const wait = Number(value) * 1000 || Date.parse(value) - now;
  return wait > 0 ? Math.min(wait, 2 ** 30) : 0; // a timer holds twice that
}
