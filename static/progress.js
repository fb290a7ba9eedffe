/**
 * Draws tasks, in light DOM around a native `<progress>`. The words are the page's.
 *
 * @import { Page, State, Status } from './types.js'
 */

import { ProgressPoller, Watch, percentage } from './poller.js';

/** Ms between two announcements to a screen reader (ARIA25). */
const SILENCE = 10000;
/** Ends with an event of their own. */
const ENDS = ['finished', 'failed', 'cancelled'];

/** @type {Page} */
let page = {};
let content = '{}';

function readPage() {
  const meta = document.querySelector('meta[name="pyramid-progress"]');
  const found = meta?.getAttribute('content') ?? '{}';
  if (found !== content) page = JSON.parse((content = found));
  return page;
}

/** Number formats are slow to make. @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();

/** @param {number} value @param {'percent' | 'decimal'} style @param {string} [lang] @returns {string} */
function format(value, style, lang) {
  const key = `${style} ${lang}`;
  let found = formats.get(key);
  if (!found) {
    try {
      found = new Intl.NumberFormat(lang, { style });
    } catch {
      return format(value, style); // no such language
    }
    formats.set(key, found);
  }
  return found.format(value);
}

/** @param {unknown} value */
function text(value) {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** @param {string[]} parts */
function join(...parts) {
  return parts.filter(Boolean).join(', ');
}

/** @param {unknown} url @returns {string} nothing if it is not one of the web's */
function safe(url) {
  try {
    return url && /^https?:$/.test(new URL(text(url), document.baseURI).protocol) ? text(url) : '';
  } catch {
    return '';
  }
}

/** @param {Element | null} node @param {string} name @param {string | null} value */
function set(node, name, value) {
  if (!node || node.getAttribute(name) === value) return;
  if (value === null) node.removeAttribute(name);
  else node.setAttribute(name, value);
}

/** @param {string} tag @param {string} part @param {Record<string, string>} [attributes] */
function make(tag, part, attributes = {}) {
  const element = document.createElement(tag);
  element.className = `pp-${part}`;
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  return element;
}

/** `<pyramid-progress>`: its attributes and events are described in `types.d.ts`. */
export class PyramidProgressElement extends HTMLElement {
  static observedAttributes = ['progress-id', 'src', 'poll-min', 'poll-max', 'patience'];

  /** @type {Watch | undefined} */
  #watch;
  /** Has the watch while it is polled. @type {ProgressPoller | undefined} */
  #poller;
  #sentence = '';
  /** Runs while it is too early to speak again. @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;

  static define(name = 'pyramid-progress', registry = customElements) {
    if (!registry.get(name)) registry.define(name, this);
  }

  get progressId() {
    return this.getAttribute('progress-id') ?? '';
  }
  set progressId(value) {
    this.setAttribute('progress-id', value);
  }

  get src() {
    return this.getAttribute('src') ?? readPage().src ?? '';
  }
  set src(value) {
    this.setAttribute('src', value);
  }

  get pollMin() {
    return this.#seconds('poll-min', 0.5);
  }
  set pollMin(value) {
    this.setAttribute('poll-min', String(value));
  }

  get pollMax() {
    return Math.max(this.#seconds('poll-max', 5), this.pollMin);
  }
  set pollMax(value) {
    this.setAttribute('poll-max', String(value));
  }

  get patience() {
    return this.#seconds('patience', 30);
  }
  set patience(value) {
    this.setAttribute('patience', String(value));
  }

  /** What is shown. @returns {State} */
  get state() {
    return this.#watch?.state ?? 'waiting';
  }

  /** The last status that was told. @returns {Status} */
  get status() {
    return this.#watch?.status ?? { status: 'unknown' };
  }

  connectedCallback() {
    this.addEventListener('submit', this.#cancel);
    if (!this.#watch) {
      const status = JSON.parse(this.getAttribute('status') ?? 'null') ?? undefined;
      const watch = new Watch(this.progressId, () => this.#change(watch), { status, ...this.#pace() });
      this.#watch = watch;
    }
    if (this.progressId && this.src && !this.#watch.over) {
      this.#poller = ProgressPoller.of(this.src);
      this.#poller.add(this.#watch);
    }
    this.#draw();
  }

  disconnectedCallback() {
    // What is moved is back in a moment.
    queueMicrotask(() => {
      if (!this.isConnected) this.#leave();
    });
  }

  /** @param {string} name @param {string | null} old @param {string | null} value */
  attributeChangedCallback(name, old, value) {
    if (!this.#watch || old === value) return;
    if (name === 'progress-id' || name === 'src') {
      this.#leave();
      this.#watch = undefined;
      this.removeAttribute('status'); // the other task's
      if (this.isConnected) this.connectedCallback();
    } else {
      Object.assign(this.#watch, this.#pace());
    }
  }

  /** Asks the task to stop, as the form would, on this page. @param {SubmitEvent} event */
  #cancel = async (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || form.className !== 'pp-cancel') return;
    event.preventDefault();
    const body = new URLSearchParams(/** @type {any} */ (new FormData(form)));
    const headers = { Accept: 'application/json' };
    const response = await fetch(form.action, { method: 'POST', body, headers }).catch(() => null);
    if (response?.ok) this.#watch?.answer(await response.json(), performance.now());
  };

  #leave() {
    if (this.#watch) this.#poller?.remove(this.#watch);
    this.#poller = undefined;
    clearTimeout(this.#silence);
    this.#silence = undefined;
  }

  /** @param {string} name @param {number} otherwise */
  #seconds(name, otherwise) {
    const value = Number(this.getAttribute(name));
    return value > 0 ? value : otherwise;
  }

  #pace() {
    return { min: this.pollMin * 1000, max: this.pollMax * 1000, patience: this.patience * 1000 };
  }

  /** @param {Watch} watch */
  #change(watch) {
    if (watch !== this.#watch) return;
    this.#draw();
    const { state, status: detail } = watch;
    const events = ['update'];
    if (ENDS.includes(state)) events.push(state);
    else if (watch.over || state === 'trouble') events.push('error');
    for (const event of events) {
      this.dispatchEvent(new CustomEvent(`progress:${event}`, { bubbles: true, detail }));
    }
  }

  #draw() {
    const { state, status } = this;
    const { words = {}, lang } = readPage();
    const language = this.closest('[lang]')?.getAttribute('lang') || lang;
    const done = percentage(status);
    let amount = '';
    if (done !== undefined) amount = format(Math.floor(done) / 100, 'percent', language);
    else if (typeof status.current === 'number' && status.current) amount = format(status.current, 'decimal', language);
    // A status word of the application's own is shown as it is.
    const own = /^(running|indeterminate)$/.test(state) && status.status !== 'running';
    const word = own ? status.status : (words[state] ?? state);
    const label = text(status.label);
    const name = label || (words.progress ?? '');

    const bar = this.#bar();
    set(bar, 'value', state === 'indeterminate' ? null : `${done ?? 0}`);
    set(bar, 'aria-label', name);
    set(bar, 'aria-valuetext', join(amount, word));
    set(this, 'state', state);
    this.#write('label', label);
    this.#write('amount', amount);
    this.#write('state', word);
    this.#write('message', text(status.message));
    const url = safe(status.result?.url);
    this.#write('result', text(status.result?.text) || (url && (words.result ?? '')));
    set(this.querySelector('.pp-result'), 'href', url || null);
    set(this.querySelector('.pp-cancel'), 'hidden', status.cancellable && !this.#watch?.over ? null : '');
    // An end that the server rendered is no news.
    if (this.#poller) this.#say(join(name, amount, word));
  }

  /** The native bar; without one, all parts are made. */
  #bar() {
    let bar = this.querySelector('progress');
    if (!bar) {
      bar = document.createElement('progress');
      bar.max = 100;
      const line = make('span', 'line');
      line.append(make('span', 'state'), ' ', make('span', 'message', { dir: 'auto' }), ' ', make('a', 'result'));
      this.replaceChildren(
        make('span', 'label', { dir: 'auto' }),
        ' ',
        make('span', 'amount'),
        bar,
        line,
        make('span', 'live', { role: 'status' }),
      );
    }
    return bar;
  }

  /** @param {string} part @param {string} content */
  #write(part, content) {
    const node = this.querySelector(`.pp-${part}`);
    if (node && node.textContent !== content) node.textContent = content;
  }

  /** @param {string} sentence to speak: at the start, at the end, and now and then */
  #say(sentence) {
    this.#sentence = sentence;
    const over = this.#watch?.over;
    if (this.#silence && !over) return;
    clearTimeout(this.#silence);
    this.#write('live', sentence);
    if (over) return;
    this.#silence = setTimeout(() => {
      this.#silence = undefined;
      if (this.#sentence !== sentence) this.#say(this.#sentence);
    }, SILENCE);
  }
}

PyramidProgressElement.define();
