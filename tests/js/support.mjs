/** The environment of a poller under test: a clock that a test advances, a page, and a server. */

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
const now = performance.now;
export const { random } = Math;

/** Removes all watches and restores the real environment; called after each test. */
export function clear() {
  for (const { poller, watches } of stages.splice(0)) watches.forEach((watch) => poller.remove(watch));
  Object.assign(globalThis, { clearTimeout, document, fetch, setTimeout });
  performance.now = now;
  Math.random = random;
}

/**
 * A poller with its clock, its page and its server, which replace the real ones until the end of the test.
 *
 * `stage.answer(ids, now)` is the server: it returns statuses by id, or a Response, or throws; a test may replace it at
 * any time. `stage.requests` are the requests made: `{at, ids, url, signal, options}`.
 */
export class Stage {
  clock = new FakeClock();
  page = new FakePage();
  requests = [];
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
    performance.now = this.clock.now;
    Math.random = () => this.random();
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

  #fetch(url, options) {
    const { signal } = options;
    const ids = new URL(url).searchParams.getAll('progress_id');
    this.requests.push({ at: this.clock.now(), ids, url, signal, options });
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
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
