/**
 * Follows tasks by server-sent events, if the page's configuration has their URL.
 *
 * @import { ProgressPoller, Watch } from './poller.js'
 * @import { Status } from './types.js'
 */

/** Of an account: HTTP/1.1 has six connections. */
const MAX_STREAMS = 2;
/** The polls wait for a stream, and for its end. Times are in ms. */
const PATIENCE = 1000;
/** Maximum retry delay; failures double it. */
const RETRY_SPREAD = 10000;
const MAX_RETRY_SPREAD = 320000;
/** The server sends a comment every 3 s. */
const MAX_SILENCE = 10000;
const REPEAT_INTERVAL = 2500;
const MAX_EVENT_LENGTH = 2 ** 20;

/** Parses an event stream that arrives in chunks. */
export class EventParser {
  #line = '';
  #type = '';
  #data = '';
  #endsWithCr = false;

  /** Returns the events that a piece completes. @param {string} text */
  push(text) {
    /** @type {{ type: string, data: string }[]} */
    const events = [];
    if (!text) return events;
    // It may be the second half of a CRLF.
    const start = this.#endsWithCr && text[0] === '\n' ? 1 : 0;
    this.#endsWithCr = text.endsWith('\r');
    const lines = (this.#line + text.slice(start)).split(/\r\n|\n|\r/);
    this.#line = lines.pop() ?? '';
    for (const line of lines) {
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (name === 'event') this.#type = value;
      if (name === 'data') this.#data += `${value}\n`;
      if (line) continue;
      if (this.#data) events.push({ type: this.#type, data: this.#data.slice(0, -1) });
      this.#type = this.#data = '';
    }
    if (this.#data.length + this.#line.length > MAX_EVENT_LENGTH) throw new RangeError('the event is too long');
    return events;
  }
}

/** The earliest time of the next attempt, by URL. @type {Map<string, number>} */
const notBefore = new Map();

/** The stream for the tasks of a poller, if there is one. */
export class Stream {
  #poller;
  #url;
  #lock;
  /** The last sent, by id; undefined in trouble. @type {Map<string, Status | undefined>} */
  #statuses = new Map();
  /** @type {AbortController | undefined} */
  #request;
  /** End of the last request. */
  #previous = Promise.resolve();
  #openedAt = 0;
  #repeatedAt = 0;
  #retryTimer = 0;
  #spread = RETRY_SPREAD;
  /** @type {{ id: string }[]} */
  #finished = [];
  /** Runs while the polls wait. */
  #patienceTimer = 0;

  /** @param {ProgressPoller} poller @param {string} url @param {string} [channel] */
  constructor(poller, url, channel) {
    this.#poller = poller;
    this.#url = url;
    this.#lock = `${channel} ${url}`;
    document.addEventListener('visibilitychange', this.#onVisibilityChange);
    this.#onVisibilityChange();
  }

  close() {
    document.removeEventListener('visibilitychange', this.#onVisibilityChange);
    this.#releasePolls();
    this.#abort();
  }

  /** Whether a task is not polled. @param {string} id */
  delivers(id) {
    return this.#patienceTimer > 0 || this.#statuses.has(id);
  }

  /** Follows a task, too. @param {Watch} watch */
  add(watch) {
    const status = this.#statuses.get(watch.id);
    if (status) return watch.answer(status, performance.now());
    if (!this.#request) return;
    // Tasks that are added one after the other share the next request.
    this.#holdPolls();
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(
      () => this.#batch?.ids.every((id) => this.#statuses.has(id)) || this.#attempt(true),
      Math.max(this.#openedAt + PATIENCE - performance.now(), PATIENCE / 10),
    );
  }

  #onVisibilityChange = () => {
    this.#releasePolls();
    this.#abort();
    if (!document.hidden) this.#attempt(true);
  };

  /** What one request can ask for. A task of which nothing is known is polled, rarely. */
  get #batch() {
    const watches = [...this.#poller.watches].filter(({ state }) => state !== 'unknown');
    return this.#poller.batches(watches, this.#url).at(0);
  }

  #holdPolls() {
    clearTimeout(this.#patienceTimer);
    this.#patienceTimer = setTimeout(() => this.#releasePolls(), PATIENCE);
  }

  /** @param {number} [spread] pages do not poll at the same moment */
  #releasePolls(spread = 0) {
    clearTimeout(this.#patienceTimer);
    this.#patienceTimer = 0;
    this.#poller.schedule(performance.now() + Math.random() * spread);
  }

  #abort() {
    clearTimeout(this.#retryTimer);
    this.#statuses.clear();
    this.#request?.abort();
    this.#request = undefined;
  }

  /** Opens a stream, in place of an open one. @param {boolean} [holdsPolls] */
  #attempt(holdsPolls) {
    this.#abort();
    if (!this.#batch || this.#delay > 0) return this.#retry();
    if (holdsPolls) this.#holdPolls();
    this.#openedAt = performance.now();
    this.#request = new AbortController();
    this.#previous = this.#open(this.#request, this.#previous);
  }

  get #delay() {
    return Math.max((notBefore.get(this.#url) ?? 0) - performance.now(), 0);
  }

  #retry() {
    const delay = this.#delay + Math.random() * this.#spread;
    if (delay < Infinity) this.#retryTimer = setTimeout(() => this.#attempt(), delay);
  }

  /** @param {AbortController} request @param {Promise<void>} previous after it, its lock is free */
  async #open(request, previous) {
    await previous;
    let isTaken = true;
    try {
      for (let number = 1; isTaken && number <= MAX_STREAMS && request === this.#request; number += 1) {
        await navigator.locks.request(`${this.#lock} ${number}`, { ifAvailable: true }, (lock) => {
          isTaken = !lock;
          return lock && this.#read(request);
        });
      }
    } catch {
      // The connection failed, or its content is invalid.
    }
    if (request !== this.#request) return;
    this.#releasePolls(this.#statuses.size && PATIENCE);
    this.#abort();
    this.#retry();
  }

  /** @param {AbortController} request */
  async #read(request) {
    const batch = this.#batch;
    if (!batch) return;
    const abort = () => request.abort();
    let timer = setTimeout(abort, MAX_SILENCE);
    this.#spread = Math.min(this.#spread * 2, MAX_RETRY_SPREAD);
    try {
      const { body, headers, ok, status } = await fetch(batch.url, {
        headers: { Accept: 'text/event-stream' },
        cache: 'no-store',
        redirect: 'manual',
        credentials: 'include',
        signal: request.signal,
      });
      const delay = this.#poller.readHeaders(headers);
      notBefore.set(this.#url, status === 404 ? Infinity : performance.now() + delay);
      const reader = ok && body?.getReader();
      const decoder = new TextDecoder();
      const parser = new EventParser();
      while (reader) {
        const { done, value } = await reader.read();
        if (done || request !== this.#request) break;
        clearTimeout(timer);
        timer = setTimeout(abort, MAX_SILENCE);
        this.#repeat();
        for (const { type, data } of parser.push(decoder.decode(value, { stream: true }))) {
          if (!type) this.#receive(JSON.parse(data), batch.ids);
          else if (type === 'trouble') this.#report(batch.ids);
        }
        this.#acknowledge();
        this.#poller.sweep();
      }
    } finally {
      clearTimeout(timer);
      abort();
    }
  }

  /** @param {Status & { id: string }} event @param {string[]} ids */
  #receive({ id, ...status }, ids) {
    if (!ids.includes(id)) return;
    this.#spread = RETRY_SPREAD;
    this.#statuses.set(id, status);
    this.#poller.receive([id], { [id]: status }, performance.now());
    // A bar that is added later follows the next run.
    if (/^(finished|failed|cancelled)$/.test(status.status)) this.#statuses.delete(id);
    if (status.status === 'finished') this.#finished.push({ id });
  }

  /** Only a poll does that. */
  #acknowledge() {
    const headers = { Accept: 'application/json' };
    for (const { url } of this.#poller.batches(this.#finished.splice(0)))
      fetch(url, { headers, cache: 'no-store', redirect: 'manual', keepalive: true }).catch(() => {});
  }

  /** After trouble, the server sends each status again. @param {string[]} ids */
  #report(ids) {
    for (const id of ids) this.#statuses.set(id, undefined);
    this.#poller.forEach(ids, (watch) => watch.become('trouble'));
  }

  /** Repeats statuses: an unknown task is lost. */
  #repeat() {
    const now = performance.now();
    if (now - this.#repeatedAt < REPEAT_INTERVAL) return;
    this.#repeatedAt = now;
    for (const [id, status] of this.#statuses) if (status) this.#poller.receive([id], { [id]: status }, now);
  }
}
