/**
 * Follows tasks by polls, or by a stream.
 *
 * @import { Stream } from './stream.js'
 * @import { Batch, Estimate, Page, Poll, Sample, State, Status, WatchOptions } from './types.js'
 */

const FINAL_STATES = ['finished', 'failed', 'cancelled', 'lost', 'signed-out', 'forbidden'];
const STATE_WORDS = ['finished', 'failed', 'cancelled', 'stalled', 'cancelling'];
/** Of a task with a rate. All times are in ms. */
const POLLS_PER_TASK = 37;
/** Of intervals. The first rates are inaccurate. */
const MAX_GROWTH = 1.5;
/** Without a rate. */
const IDLE_GROWTH = 1.15;
const MAX_IDLE_INTERVAL = 2000;
const UNKNOWN_INTERVAL = 30000;
const MAX_SAMPLES = 8;
/** In the later half of the samples. */
const MAX_RATE_DEVIATION = 1 / 3;
/** A task with so many is lost. */
const MAX_MISSES = 3;
/** The limits of the server, and of proxies (often 8 KB). */
const MAX_IDS = 50;
const MAX_URL_LENGTH = 4096;
const REQUEST_TIMEOUT = 10000;
/** The first poll waits for a stream. */
const STREAM_DELAY = 1000;
const MIN_RETRY_DELAY = 1000;
const MAX_RETRY_DELAY = 30000;
/** From an expected end to the poll for it. */
const END_DELAY = 100;
/** So many cause no extra polls for ends. */
const MANY_BARS = 10;
/** By HTTP status; 0 is a redirect. @type {Record<number, State>} */
const ERROR_STATES = { 0: 'signed-out', 400: 'unknown', 401: 'signed-out', 403: 'forbidden' };
const VALID_ID = /^[^\p{Cc}\p{Cs}]{1,255}$/u;

let metaText = '{}';
/** @type {Page} */
let config = {};

/** Turbo replaces the element on each visit. */
export function pageConfig() {
  const text = document.querySelector('meta[name=pyramid-progress]')?.getAttribute('content') ?? '{}';
  if (text !== metaText) config = JSON.parse((metaText = text));
  return config;
}

/** The completed share in percent, rounded down to one decimal. @param {Status} status */
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
  if (STATE_WORDS.includes(word)) return /** @type {State} */ (word);
  return percentage(status) === undefined ? 'indeterminate' : 'running';
}

/** A bare status has no start: all of it is compared. @param {Status} one @param {Status} other */
function isSameRun(one, other) {
  return one.started ? one.started === other.started : JSON.stringify(one) === JSON.stringify(other);
}

/** Follows one task. */
export class Watch {
  #listener;
  #interval;
  #reported;
  #misses = 0;
  /** @type {number | undefined} */
  #unknownSince;
  /** @type {Sample[]} */
  #samples = [];
  /** Expected end time. */
  end = Infinity;
  askedAt = -Infinity;
  /** Whether an answer came before the end. */
  wasActive = false;
  /** @type {Estimate | undefined} */
  estimate;

  /** @param {string} id @param {(watch: Watch) => void} listener @param {WatchOptions} [options] */
  constructor(id, listener, options = {}) {
    const { status = { status: 'unknown' }, previousEnd, isAttached = () => true } = options;
    const { min = 500, max = 5000, patience = 30000, delay = 0 } = options;
    this.id = id;
    this.status = status;
    this.previousEnd = previousEnd;
    this.isAttached = isAttached;
    this.min = min;
    this.max = max;
    this.patience = patience;
    this.delay = delay;
    this.state = stateOf(status);
    this.#listener = listener;
    this.#interval = min;
    this.#reported = JSON.stringify([this.state, status, true]);
  }

  get known() {
    return this.status.status !== 'unknown';
  }

  get over() {
    return FINAL_STATES.includes(this.state);
  }

  get finalStatus() {
    return this.over && this.state === this.status.status ? this.status : undefined;
  }

  get interval() {
    return Math.min(Math.max(this.#interval, this.min), this.max);
  }

  /** @param {number} now */
  isDue(now) {
    return this.state !== 'unknown' || now - this.askedAt > UNKNOWN_INTERVAL * 0.9;
  }

  /** @param {Status} status @param {number} now */
  answer(status, now) {
    if (this.previousEnd && isSameRun(this.previousEnd, status)) status = { status: 'unknown' };
    let state = stateOf(status);
    if (status.status !== 'unknown') {
      if (/^(waiting|unknown)$/.test(this.state) && state !== 'waiting') this.#interval = this.min;
      this.#misses = 0;
      this.wasActive ||= !FINAL_STATES.includes(state);
    } else {
      status = this.status;
      if (this.known) {
        state = (this.#misses += 1) < MAX_MISSES ? stateOf(status) : 'lost';
      } else if (now - (this.#unknownSince ??= now) >= this.patience) {
        state = 'unknown';
      }
    }
    this.become(state, status, this.#measure(status, now));
  }

  /** @param {State} state @param {Status} [status] @param {Estimate} [estimate] */
  become(state, status = this.status, estimate) {
    const report = JSON.stringify([state, status, !estimate]);
    if (this.over || report === this.#reported) return;
    this.#reported = report;
    this.state = state;
    this.status = status;
    this.estimate = estimate;
    // An exception in a listener affects no other watch.
    queueMicrotask(() => this.#listener(this));
  }

  /** @param {Status} status @param {number} now @returns {Estimate | undefined} */
  #measure({ current, length }, now) {
    const samples = this.#samples;
    const last = samples.at(-1) ?? { at: -Infinity, current: -Infinity };
    if (typeof current !== 'number' || current < last.current) samples.length = 0;
    // A stream brings more answers than polls.
    else if (current > last.current && now - last.at > this.interval * 0.9) samples.push({ at: now, current, length });
    if (samples.length > MAX_SAMPLES) samples.shift();
    const at = samples.at(-1)?.at ?? 0;
    // A task that stands still for longer than it moved has no rate.
    const rate = now - at <= at - (samples[0]?.at ?? at) ? rateOf(samples) : NaN;
    const total = typeof length === 'number' ? length : NaN;
    // A position is older than its answer: the earliest end is the most exact.
    this.end = Math.min(...samples.map((sample) => sample.at + (total - sample.current) / rate)) || Infinity;
    const pace = total / rate / POLLS_PER_TASK;
    this.#interval = Math.min(
      ...(pace > 0 ? [pace, this.interval * MAX_GROWTH] : [this.interval * IDLE_GROWTH, MAX_IDLE_INTERVAL]),
    );
    // There is no estimate if the rate changes or the length grows.
    const later = samples.slice(samples.length >> 1);
    const steady = Math.abs(rateOf(later) / rate - 1) < MAX_RATE_DEVIATION && later[0].length === length;
    return steady && later.length > 2 && this.end > now ? { rate, left: this.end - now } : undefined;
  }
}

/** Units per ms; NaN for less than two samples. @param {Sample[]} samples */
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

/** Polls a status URL while it has watches. */
export class ProgressPoller {
  /** @type {Set<Watch>} */
  watches = new Set();
  /** @type {Stream | undefined} */
  #stream;
  /** @type {BroadcastChannel | undefined} */
  #channel;
  #timer = 0;
  /** The time of the next poll. */
  #due = Infinity;
  /** Of the poll in progress. @type {AbortController | undefined} */
  #request;
  #sentAt = 0;
  #failures = 0;
  #notBefore = 0;
  /** Of the server, which rounds its time down to a second. */
  clockOffset = -Infinity;

  /** The poller that bars share. @param {string} url */
  static of(url) {
    const { href } = new URL(url, document.baseURI);
    const poller = pollers.get(href) ?? new ProgressPoller(href);
    pollers.set(href, poller);
    return poller;
  }

  /** @param {string} url */
  constructor(url) {
    this.url = url;
  }

  /** @param {Watch} watch */
  add(watch) {
    if (!VALID_ID.test(watch.id)) return watch.become('unknown');
    if (watch.over || this.watches.has(watch)) return;
    if (!this.watches.size) this.#open();
    this.watches.add(watch);
    this.#stream?.add(watch);
    this.schedule(performance.now() + (watch.known ? this.#jitter(watch.min) : watch.delay));
  }

  /** @param {Watch} watch */
  remove(watch) {
    if (this.watches.delete(watch) && !this.watches.size) this.#close();
  }

  #open() {
    document.addEventListener('visibilitychange', this.#onVisibilityChange);
    const { channel, events, src = '' } = pageConfig();
    // Other status URLs have no streams.
    if (events && navigator.locks && new URL(src, document.baseURI).href === this.url) {
      this.#notBefore = performance.now() + STREAM_DELAY;
      import('./stream.js').then(
        ({ Stream }) => this.watches.size && (this.#stream ??= new Stream(this, events, channel)),
        () => {}, // the page polls
      );
    }
    // Other pages send a hidden page finished statuses.
    if (!channel) return;
    this.#channel = new BroadcastChannel(`${channel} ${this.url}`);
    this.#channel.onmessage = ({ data: [id, status] }) => {
      this.forEach([id], (watch) => watch.answer(status, performance.now()));
      this.sweep();
    };
  }

  #close() {
    this.#request?.abort();
    this.#stream?.close();
    this.#request = this.#stream = undefined;
    this.#cancel();
    document.removeEventListener('visibilitychange', this.#onVisibilityChange);
    this.#channel?.close();
    this.#channel = undefined;
    if (pollers.get(this.url) === this) pollers.delete(this.url);
  }

  #onVisibilityChange = () => {
    this.#cancel();
    this.schedule(performance.now());
  };

  #cancel() {
    clearTimeout(this.#timer);
    this.#due = Infinity;
  }

  /** So that pages do not poll at the same moments. @param {number} ms */
  #jitter(ms) {
    return (ms * (1 + Math.random())) / 2;
  }

  /** @param {number} time of the next poll, at the latest */
  schedule(time) {
    const at = Math.max(time, this.#notBefore);
    if (at >= this.#due) return;
    this.#cancel();
    this.#due = at;
    if (this.#request || document.hidden) return;
    this.#timer = setTimeout(() => this.#poll(), at - performance.now());
  }

  async #poll() {
    this.#cancel();
    this.sweep();
    const now = performance.now();
    const due = this.#polled.filter((watch) => watch.isDue(now));
    if (!due.length) return this.#scheduleNext(-1);
    const request = (this.#request = new AbortController());
    const timeout = setTimeout(() => request.abort(), REQUEST_TIMEOUT);
    this.#sentAt = now;
    this.#notBefore = now + Math.min(...due.map(({ min }) => min));
    for (const watch of due) watch.askedAt = now;
    const waits = await Promise.all(this.batches(due).map((batch) => this.#ask(batch, request)));
    clearTimeout(timeout);
    if (this.#request !== request) return;
    this.#request = undefined;
    this.sweep();
    this.#scheduleNext(Math.max(...waits));
  }

  /** @param {number} wait negative without an error */
  #scheduleNext(wait) {
    const now = performance.now();
    const scheduled = this.#due;
    this.#cancel();
    if (wait < 0) {
      this.#failures = 0;
      this.schedule(Math.min(scheduled, now + this.#pause(now)));
    } else {
      this.#notBefore = Math.max(this.#notBefore, now + wait * (1 + Math.random() / 10));
      this.schedule(now + this.#jitter(Math.min(MIN_RETRY_DELAY * 2 ** this.#failures, MAX_RETRY_DELAY)));
      this.#failures += 1;
    }
  }

  /** Those that no stream delivers. */
  get #polled() {
    return [...this.watches].filter(({ id }) => !this.#stream?.delivers(id));
  }

  /** @param {number} now */
  #pause(now) {
    const watches = this.#polled.filter(({ state }) => state !== 'unknown');
    // A page with several requests a poll polls less often.
    const stretch = Math.sqrt(this.batches(watches).length);
    const shortest = Math.min(...watches.map(({ interval, max }) => Math.min(interval * stretch, max)));
    const factor = 0.98 + Math.random() / 25;
    const pauses = this.#polled.map((watch) => {
      if (watch.state === 'unknown') return watch.askedAt + UNKNOWN_INTERVAL * factor - now;
      // From poll to poll; at least `min` after an answer.
      const regular = Math.max(shortest * factor - (now - this.#sentAt), watch.min);
      const left = watch.end - now;
      // The longer it is overdue, the later is the poll for it.
      const end = left > 0 ? left + END_DELAY : -left / 2;
      const least = Math.max(watch.min, (regular * watches.length) / MANY_BARS);
      return Math.min(regular, Math.max(least, end));
    });
    return Math.min(...pauses);
  }

  /** The requests for some tasks. @param {{ id: string }[]} tasks @param {string} [base] */
  batches(tasks, base = this.url) {
    /** @type {Batch[]} */
    const batches = [];
    for (const id of new Set(tasks.map(({ id }) => id))) {
      const query = `progress_id=${encodeURIComponent(id)}`;
      const last = batches.at(-1);
      if (last && last.ids.length < MAX_IDS && last.url.length + query.length < MAX_URL_LENGTH) {
        last.ids.push(id);
        last.url += `&${query}`;
      } else {
        batches.push({ ids: [id], url: base + (base.includes('?') ? '&' : '?') + query });
      }
    }
    return batches;
  }

  /** @param {Batch} batch @param {AbortController} request */
  async #ask({ ids, url }, request) {
    let answer, response;
    let wait = 0;
    let isReported = true;
    try {
      response = await fetch(url, {
        headers: { Accept: 'application/json' },
        cache: 'no-store',
        // It leads to a sign-in page.
        redirect: 'manual',
        // WebKit sends no other request while a navigation is pending.
        keepalive: true,
        signal: request.signal,
      });
      wait = this.readHeaders(response.headers);
      if (response.ok) answer = await response.json();
    } catch (error) {
      // The first failed connection is not reported.
      isReported = this.#failures > 0 || !(error instanceof TypeError);
    }
    if (this.#request !== request) return -1;
    if (answer && typeof answer === 'object') {
      this.receive(ids, ids.length > 1 ? answer : { [ids[0]]: answer }, this.#sentAt);
      return -1;
    }
    const state = response && ERROR_STATES[response.status];
    if (isReported) this.forEach(ids, (watch) => watch.become(state ?? 'trouble'));
    return state ? -1 : wait;
  }

  /** @param {string[]} ids @param {Record<string, Status | undefined>} answers @param {number} now */
  receive(ids, answers, now) {
    this.forEach(ids, (watch) => {
      const answered = answers[watch.id];
      const status = typeof answered?.status === 'string' ? answered : { status: 'unknown' };
      watch.answer(status, now);
      if (watch.state === 'finished') this.#channel?.postMessage([watch.id, status]);
    });
  }

  /** Returns the `Retry-After` in ms. @param {Headers} headers */
  readHeaders(headers) {
    const now = Date.now();
    const date = Date.parse(headers.get('Date') ?? '');
    if (date) this.clockOffset = Math.max(this.clockOffset, date - now);
    const value = headers.get('Retry-After') ?? '';
    const wait = Number(value) * 1000 || Date.parse(value) - (date || now);
    return wait > 0 ? Math.min(wait, 2 ** 30) : 0; // a timer holds 2 ** 31
  }

  /** @param {string[]} ids @param {(watch: Watch) => void} callback */
  forEach(ids, callback) {
    for (const watch of this.watches) if (ids.includes(watch.id)) callback(watch);
  }

  sweep() {
    for (const watch of this.watches) if (watch.over || !watch.isAttached()) this.remove(watch);
  }
}
