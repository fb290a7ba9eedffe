/**
 * Draws tasks around a native `<progress>`, with the words of the page.
 *
 * @import { Page, State, Status } from './types.js'
 */

import { ProgressPoller, Watch, percentage } from './poller.js';

/** Ms between two announcements to a screen reader (ARIA25). */
const SILENCE = 10000;
/** A URL of the web; in a relative one, a path, query or fragment comes before any colon. */
const WEB_URL = /^(https?:|[^:/?#]*([/?#]|$))/i;
const PARTS = ['label', 'amount', 'line', 'state', 'message', 'pace', 'result', 'live'];

const meta = document.querySelector('meta[name=pyramid-progress]');
/** @type {Page} */
const page = JSON.parse(meta?.getAttribute('content') ?? '{}');
const words = page.words ?? {};

/** @type {Record<string, Intl.NumberFormat>} */
const formats = {};

/** @param {number} value @param {Intl.NumberFormatOptions} options @param {string} [lang] @returns {string} */
function format(value, options, lang) {
  try {
    return (formats[`${options.unit ?? options.style} ${lang}`] ??= new Intl.NumberFormat(lang, options)).format(value);
  } catch {
    return format(value, options); // there is no such language
  }
}

/** As exact as a promise is. @param {number} ms @param {string} [lang] */
function time(ms, lang) {
  const seconds = Math.max(Math.ceil(ms / 5000), 1) * 5;
  const minutes = Math.ceil(seconds / 60);
  const [value, unit] =
    seconds < 60 ? [seconds, 'second'] : minutes < 90 ? [minutes, 'minute'] : [Math.round(minutes / 60), 'hour'];
  return format(value, { style: 'unit', unit, unitDisplay: 'long' }, lang);
}

/** @param {unknown} value */
function text(value) {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** @param {string | undefined} sentence @param {string} value */
function fill(sentence, value) {
  return sentence?.replace('{}', value) ?? '';
}

/** @param {string[]} parts */
function join(...parts) {
  return parts.filter(Boolean).join(', ');
}

/** @param {Element | null} node @param {string} name @param {string | null} value */
function set(node, name, value) {
  if (!node || node.getAttribute(name) === value) return;
  if (value === null) node.removeAttribute(name);
  else node.setAttribute(name, value);
}

/** `<pyramid-progress>`, as `types.d.ts` describes it. */
export class PyramidProgressElement extends HTMLElement {
  static observedAttributes = ['progress-id', 'src', 'poll-min', 'poll-max', 'patience'];

  /** @type {Watch | undefined} */
  #watch;
  /** @type {ProgressPoller | undefined} */
  #poller;
  #sentence = '';
  /** While it is too early. @type {any} */
  #silence;

  get progressId() {
    return this.getAttribute('progress-id') ?? '';
  }
  set progressId(value) {
    this.setAttribute('progress-id', value);
  }

  get src() {
    return this.getAttribute('src') ?? page.src ?? '';
  }
  set src(value) {
    this.setAttribute('src', value);
  }

  get pollMin() {
    return this.#seconds('poll-min', page.min ?? 0.5);
  }
  set pollMin(value) {
    this.setAttribute('poll-min', String(value));
  }

  get pollMax() {
    return Math.max(this.#seconds('poll-max', page.max ?? 5), this.pollMin);
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

  /** @returns {State} */
  get state() {
    return this.#watch?.state ?? 'waiting';
  }

  /** @returns {Status} */
  get status() {
    return this.#watch?.status ?? { status: 'unknown' };
  }

  connectedCallback() {
    this.addEventListener('submit', this.#cancel);
    if (!this.#watch) {
      const status = JSON.parse(this.getAttribute('status') ?? 'null') ?? undefined;
      const watch = new Watch(this.progressId, () => this.#change(watch), { status, ...this.#timing() });
      this.#watch = watch;
    }
    if (this.progressId && this.src && !this.#watch.over) {
      this.#poller = ProgressPoller.of(this.src);
      this.#poller.add(this.#watch);
    }
    this.#draw();
  }

  disconnectedCallback() {
    // What moves is back in a moment.
    queueMicrotask(() => this.isConnected || this.#leave());
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
      Object.assign(this.#watch, this.#timing());
    }
  }

  /** @param {SubmitEvent} event */
  #cancel = async (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || form.className !== 'pp-cancel') return;
    event.preventDefault();
    const body = new URLSearchParams(/** @type {any} */ (new FormData(form)));
    const headers = { Accept: 'application/json' };
    const response = await fetch(form.action, { method: 'POST', body, headers }).catch(() => null);
    if (response?.ok && !response.redirected) this.#watch?.answer(await response.json(), performance.now());
    // The answer tells why not; of an end (409), the next poll tells.
    else if (response && response.status !== 409) form.submit();
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

  #timing() {
    return { min: this.pollMin * 1000, max: this.pollMax * 1000, patience: this.patience * 1000 };
  }

  /** @param {Watch} watch */
  #change(watch) {
    if (watch !== this.#watch) return;
    this.#draw();
    const { state, status: detail } = watch;
    const events = ['update'];
    // What ends it has an event of its own.
    if (watch.over || state === 'trouble') events.push(watch.known && state === detail.status ? state : 'error');
    for (const event of events) {
      this.dispatchEvent(new CustomEvent(`progress:${event}`, { bubbles: true, detail }));
    }
  }

  #draw() {
    const { state, status } = this;
    const language = this.closest('[lang]')?.getAttribute('lang') || page.lang;
    const done = percentage(status);
    let amount = '';
    if (done !== undefined) amount = format(Math.floor(done) / 100, { style: 'percent' }, language);
    else if (typeof status.current === 'number' && status.current) amount = format(status.current, {}, language);
    const moves = /^(running|indeterminate)$/.test(state);
    // A word of the application's own is shown as it is.
    const word = moves && status.status !== 'running' ? status.status : (words[state] ?? state);
    const pace = moves ? this.#pace(language) : '';
    const label = text(status.label);
    const name = label || text(words.progress);

    const bar = this.#bar();
    set(bar, 'value', state === 'indeterminate' ? null : `${done ?? 0}`);
    set(bar, 'aria-label', name);
    set(bar, 'aria-valuetext', join(amount, word));
    set(this, 'state', state);
    this.#write('label', label);
    this.#write('amount', amount);
    this.#write('state', word);
    this.#write('pace', pace);
    const message = text(status.message);
    this.#write('message', message);
    const link = text(status.result?.url);
    const url = WEB_URL.test(link) ? link : '';
    this.#write('result', text(status.result?.text) || (url && text(words.result)));
    set(this.querySelector('.pp-result'), 'href', url || null);
    set(this.querySelector('.pp-cancel'), 'hidden', status.cancellable && !this.#watch?.over ? null : '');
    // An end that the server rendered is no news.
    if (this.#poller) this.#say(join(name, amount, word, pace || message));
  }

  /** @param {string} [language] */
  #pace(language) {
    const { left, rate } = this.#watch?.estimate ?? { left: 0, rate: 0 };
    return join(
      rate && left < Infinity ? fill(words.left, time(left, language)) : '',
      // Nobody counts parts of units, as stages have them.
      rate > 1e-5 && Number.isInteger(this.status.current)
        ? fill(words.rate, format(Number((rate * 1000).toPrecision(2)), {}, language))
        : '',
    );
  }

  #bar() {
    let bar = this.querySelector('progress');
    if (!bar) {
      bar = document.createElement('progress');
      bar.max = 100;
      const [label, amount, line, state, message, pace, result, live] = PARTS.map((part) => {
        const element = document.createElement(part === 'result' ? 'a' : 'span');
        element.className = `pp-${part}`;
        if (part !== 'line') element.dir = 'auto';
        return element;
      });
      live.role = 'status';
      line.append(state, ' ', message, ' ', pace, ' ', result);
      this.replaceChildren(label, ' ', amount, bar, line, live);
    }
    return bar;
  }

  /** @param {string} part @param {string} content */
  #write(part, content) {
    const node = this.querySelector(`.pp-${part}`);
    if (node && node.textContent !== content) (node.firstChild ?? node).textContent = content;
  }

  /** At the start, at the end, and now and then. @param {string} sentence */
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

// Few pages have such forms.
const load = () => document.querySelector('form[data-progress], .pp-form') && import('./form.js');
addEventListener('focusin', load);
load();

if (!customElements.get('pyramid-progress')) customElements.define('pyramid-progress', PyramidProgressElement);
