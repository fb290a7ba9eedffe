/** The environment of a poller under test: a clock that a test advances, a page, and a server. */

import assert from 'node:assert/strict';

import { ProgressPoller, Watch } from '../../static/poller.js';

/** A clock that stands still until a test advances it. */
export class FakeClock {
  #now = 0;
  #timers = new Map();
  #made = 0;

  now = () => this.#now;

  /** As in a browser, a time of more than 31 bits expires at once. */
  setTimeout = (callback, ms) => {
    this.#timers.set((this.#made += 1), { at: this.#now + (ms > 0 && ms < 2 ** 31 ? ms : 0), callback });
    return this.#made;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  get pending() {
    return this.#timers.size;
  }

  /** Advances by some ms, calls each timer at its time, and settles promises in between. */
  async advance(ms) {
    const until = this.#now + ms;
    for (;;) {
      await new Promise(setImmediate);
      const [timer, next] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
      if (!next || next.at > until) break;
      this.#timers.delete(timer);
      this.#now = next.at;
      next.callback();
    }
    this.#now = until;
  }
}

/** The Web Locks of an origin. */
export class FakeLocks {
  held = new Set();

  async request(name, { ifAvailable }, callback) {
    assert.ok(ifAvailable);
    await null;
    if (this.held.has(name)) return callback(null);
    this.held.add(name);
    try {
      return await callback({ name });
    } finally {
      this.held.delete(name);
    }
  }
}

/** A page that can be hidden, with a configuration for the widget. */
export class FakePage extends EventTarget {
  baseURI = 'http://localhost/';
  hidden = false;
  listeners = 0;
  config = {};

  querySelector() {
    return { getAttribute: () => JSON.stringify(this.config) };
  }

  addEventListener(...args) {
    this.listeners += 1;
    super.addEventListener(...args);
  }

  removeEventListener(...args) {
    this.listeners -= 1;
    super.removeEventListener(...args);
  }

  turn(hidden) {
    this.hidden = hidden;
    this.dispatchEvent(new Event('visibilitychange'));
  }
}

let made = 0;
const stages = [];
const { clearTimeout, document, fetch, setTimeout } = globalThis;
const navigator = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
const now = performance.now;
export const { random } = Math;

/** Removes all watches and restores the real environment; called after each test. */
export function clear() {
  for (const { poller, watches } of stages.splice(0)) watches.forEach((watch) => poller.remove(watch));
  Object.assign(globalThis, { clearTimeout, document, fetch, setTimeout });
  if (navigator) Object.defineProperty(globalThis, 'navigator', navigator);
  else delete globalThis.navigator;
  performance.now = now;
  Math.random = random;
}

/** The answer to a request for events, which a test sends. */
class FakeStream {
  #controller;
  #encoder = new TextEncoder();

  constructor(signal) {
    const body = new ReadableStream({ start: (controller) => (this.#controller = controller) });
    signal.addEventListener('abort', () => this.#controller.error(signal.reason));
    this.response = new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
  }

  /** Sends some text, or some statuses by id. */
  send(content) {
    const events = Object.entries(content).map(([id, status]) => `data: ${JSON.stringify({ id, ...status })}\n\n`);
    for (const text of typeof content === 'string' ? [content] : events) this.sendBytes(this.#encoder.encode(text));
  }

  sendBytes(bytes) {
    this.#controller.enqueue(bytes);
  }

  end() {
    this.#controller.close();
  }

  cut() {
    this.#controller.error(new TypeError('network error'));
  }
}

/**
 * A poller with its clock, its page and its server, which replace the real ones until the end of the test.
 *
 * `stage.answer(ids, now)` is the server: it returns statuses by id, or a Response, or throws; a test may replace it at
 * any time. `stage.requests` are the requests made: `{at, ids, url, signal, options}`.
 *
 * `stage.streams` are the requests for events, each with a `stream` to send them, or `stage.refuse()`, which returns a
 * Response or throws.
 */
export class Stage {
  clock = new FakeClock();
  page = new FakePage();
  requests = [];
  streams = [];
  locks = new FakeLocks();
  refuse = undefined;
  watches = [];
  latency = 20;
  random = () => 0.5;

  /** The default URL is a new one, because pollers of the same URL tell each other of ends. */
  constructor(answer = () => ({}), url = `http://localhost/${(made += 1)}/progress_status`) {
    this.answer = answer;
    this.url = url;
    this.poller = new ProgressPoller(url);
    stages.push(this);
    const { clearTimeout, setTimeout } = this.clock;
    Object.assign(globalThis, {
      clearTimeout,
      setTimeout,
      document: this.page,
      fetch: (...args) => this.#fetch(...args),
    });
    Object.defineProperty(globalThis, 'navigator', { value: { locks: this.locks }, configurable: true });
    performance.now = this.clock.now;
    Math.random = () => this.random();
  }

  /** The URL of the streams, with which a test configures the page. */
  get events() {
    return this.url.replace('status', 'events');
  }

  /** Follows a task; the returned watch has a log of `[at, state, status]`. */
  watch(id, options) {
    const watch = new Watch(id, ({ state, status }) => watch.log.push([this.clock.now(), state, status]), options);
    watch.log = [];
    this.watches.push(watch);
    this.poller.add(watch);
    return watch;
  }

  /** Times between requests. */
  get gaps() {
    const times = [...new Set(this.requests.map(({ at }) => at))];
    return times.slice(1).map((at, i) => at - times[i]);
  }

  async #openStream(request) {
    this.streams.push(request);
    const aborted = new Promise((_, reject) => {
      request.signal.addEventListener('abort', () => reject(request.signal.reason));
    });
    aborted.catch(() => {});
    if (this.refuse) return Promise.race([this.refuse(), aborted]);
    request.stream = new FakeStream(request.signal);
    return request.stream.response;
  }

  #fetch(url, options) {
    const { signal } = options;
    const ids = new URL(url).searchParams.getAll('progress_id');
    const request = { at: this.clock.now(), ids, url, signal, options };
    if (url.startsWith(this.events)) return this.#openStream(request);
    this.requests.push(request);
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason));
      if (this.latency === Infinity) return;
      this.clock.setTimeout(() => {
        try {
          const answer = this.answer(ids, this.clock.now());
          const json = ids.length > 1 ? answer : (answer[ids[0]] ?? { status: 'unknown' });
          resolve(answer instanceof Response ? answer : Response.json(json));
        } catch (error) {
          reject(error);
        }
      }, this.latency);
    });
  }
}

/** The same status for every id. */
export const all = (ids, status) => Object.fromEntries(ids.map((id) => [id, status]));

/** Throws what fetch throws if no connection can be made. */
export const refused = () => {
  throw new TypeError('Failed to fetch');
};
