/**
 * The element `<pyramid-progress>`: shows tasks with a native `<progress>` and the words of the page.
 *
 * @import { State, Status, WatchOptions } from './types.js'
 */

import { formatDuration, formatNumber } from './format.js';
import { pageConfig } from './page.js';
import { ProgressPoller, Watch, percentage } from './poller.js';

/** Ms between two announcements to screen readers (WCAG technique ARIA25). */
const ANNOUNCEMENT_INTERVAL = 10000;
/** Ms from the submit of a form to the first poll: in WebKit, an earlier request fails. */
const FORM_DELAY = 250;
/** A URL of the web; a relative one has a path, query or fragment before any colon. */
const WEB_URL = /^(https?:|[^:/?#]*([/?#]|$))/i;
const PARTS = ['label', 'amount', 'line', 'state', 'message', 'pace', 'result', 'live'];

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

/** '' if there is no URL, or no safe one. @param {Status} status */
function resultUrl({ result }) {
  const url = text(result?.url);
  return WEB_URL.test(url) ? url : '';
}

/** `<pyramid-progress>`; `types.d.ts` describes its attributes, properties and events. */
export class PyramidProgressElement extends HTMLElement {
  static observedAttributes = ['progress-id', 'src', 'poll-min', 'poll-max', 'patience', 'status'];

  /** @type {Watch | undefined} */
  #watch;
  /** @type {ProgressPoller | undefined} */
  #poller;
  /** The latest one, made or not. */
  #announcement = '';
  /** Runs until the next one. @type {any} */
  #announcementTimer;

  get progressId() {
    return this.getAttribute('progress-id') ?? '';
  }
  set progressId(value) {
    this.setAttribute('progress-id', value);
  }

  get src() {
    return this.getAttribute('src') ?? pageConfig().src ?? '';
  }
  set src(value) {
    this.setAttribute('src', value);
  }

  get pollMin() {
    return this.#seconds('poll-min', pageConfig().min ?? 0.5);
  }
  set pollMin(value) {
    this.setAttribute('poll-min', String(value));
  }

  get pollMax() {
    return Math.max(this.#seconds('poll-max', pageConfig().max ?? 5), this.pollMin);
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

  get whenFinished() {
    return this.getAttribute('when-finished') ?? '';
  }
  set whenFinished(value) {
    this.setAttribute('when-finished', value);
  }

  /** @returns {State} */
  get state() {
    return this.#watch?.state ?? 'waiting';
  }

  /** @returns {Status} */
  get status() {
    return this.#watch?.status ?? { status: 'unknown' };
  }

  /** Follows a new run of the same task id, and ignores the end that was shown. */
  restart() {
    const previousEnd = this.#watch?.finalStatus ?? this.#watch?.previousEnd;
    this.removeAttribute('status');
    this.#follow({ previousEnd });
  }

  connectedCallback() {
    this.addEventListener('click', this.#onClick);
    this.#watch ??= this.#makeWatch({ status: this.#renderedStatus() });
    if (this.progressId && this.src && !this.#watch.over) {
      this.#poller = ProgressPoller.of(this.src);
      this.#poller.add(this.#watch);
    }
    this.#draw();
  }

  disconnectedCallback() {
    // An element that is moved is connected again at once.
    queueMicrotask(() => this.isConnected || this.#leave());
  }

  /** @param {string} name @param {string | null} old @param {string | null} value */
  attributeChangedCallback(name, old, value) {
    const watch = this.#watch;
    if (!watch) return;
    if (name === 'progress-id' && old === value) {
      // Otherwise a new run is followed already.
      if (watch.over || watch.state === 'unknown') this.restart();
    } else if (old === value) {
      return;
    } else if (name === 'progress-id' || name === 'src') {
      this.removeAttribute('status'); // of the other task
      this.#follow({});
    } else if (name === 'status') {
      // A script that morphs the page wrote a newer status of the server.
      if (value !== null && value !== JSON.stringify(watch.status)) this.#follow({ status: this.#renderedStatus() });
    } else {
      Object.assign(watch, this.#timing());
    }
  }

  /** @returns {Status | undefined} */
  #renderedStatus() {
    return JSON.parse(this.getAttribute('status') ?? 'null') ?? undefined;
  }

  /** @param {WatchOptions} options */
  #follow(options) {
    this.#leave();
    this.#watch = this.#makeWatch(options);
    if (this.isConnected) this.connectedCallback();
  }

  /** @param {WatchOptions} options */
  #makeWatch(options) {
    const watch = new Watch(this.progressId, () => this.#change(watch), {
      ...options,
      ...this.#timing(),
      delay: this.classList.contains('pp-form') ? FORM_DELAY : 0,
      // The removal of a frame calls no `disconnectedCallback` of the elements in it.
      isAttached: () => this.isConnected && this.ownerDocument.defaultView !== null,
    });
    return watch;
  }

  /** @param {MouseEvent} event */
  #onClick = (event) => {
    const target = /** @type {Element} */ (event.target);
    /** @type {HTMLElement | null} */
    const cancel = target.closest('.pp-cancel');
    const watch = this.#watch;
    if (!cancel || !watch) return;
    event.preventDefault(); // of a label or a link around the bar
    import('./cancel.js').then((module) => module.cancel(cancel, watch));
  };

  #leave() {
    if (this.#watch) this.#poller?.remove(this.#watch);
    this.#poller = undefined;
    clearTimeout(this.#announcementTimer);
    this.#announcementTimer = undefined;
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
    const { state, status: detail, finalStatus } = watch;
    // A copy of the element shows the end, too.
    if (finalStatus) set(this, 'status', JSON.stringify(finalStatus));
    this.#draw();
    const events = ['update'];
    if (finalStatus) events.push(state);
    else if (watch.over || state === 'trouble' || state === 'unknown') events.push('error');
    for (const event of events) {
      this.dispatchEvent(new CustomEvent(`progress:${event}`, { bubbles: true, detail }));
    }
    // A listener may have followed another task by now.
    if (watch !== this.#watch || state !== 'finished' || !this.whenFinished) return;
    import('./when-finished.js').then(({ react }) =>
      react(this.whenFinished, watch.id, detail, resultUrl(detail), watch.wasActive),
    );
  }

  #draw() {
    const { state, status } = this;
    const { lang, words = {} } = pageConfig();
    const language = this.closest('[lang]')?.getAttribute('lang') || lang;
    const done = percentage(status);
    let amount = '';
    if (state === 'cancelled') amount = '';
    else if (done !== undefined) amount = formatNumber(Math.floor(done) / 100, { style: 'percent' }, language);
    else if (typeof status.current === 'number' && status.current) amount = formatNumber(status.current, {}, language);
    const isActive = state === 'running' || state === 'indeterminate';
    // A status word of the application's own is shown as it is.
    const word = isActive && status.status !== 'running' ? status.status : (words[state] ?? state);
    const pace = isActive ? this.#pace(words, language) : '';
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
    const url = resultUrl(status);
    this.#write('result', text(status.result?.text) || (url && text(words.result)));
    set(this.querySelector('.pp-result'), 'href', url || null);
    const cancel = this.querySelector('.pp-cancel');
    const hidden = status.cancellable && !this.#watch?.over ? null : '';
    if (hidden === '' && cancel?.matches(':focus')) {
      // The focus of an element that is hidden would be lost.
      bar.tabIndex = -1;
      bar.focus();
    }
    set(cancel, 'hidden', hidden);
    // An end that the server rendered is part of the page and is not announced.
    if (this.#poller) this.#announce(join(name, amount, word, pace || message));
  }

  /** @param {Record<string, string>} words @param {string} [language] */
  #pace(words, language) {
    const { left, rate } = this.#watch?.estimate ?? { left: 0, rate: 0 };
    return join(
      rate && left < Infinity ? fill(words.left, formatDuration(left, language)) : '',
      // Fractions of a unit, as stages have them, are not counted.
      rate > 1e-5 && Number.isInteger(this.status.current)
        ? fill(words.rate, formatNumber(Number((rate * 1000).toPrecision(2)), {}, language))
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

  /** To screen readers: the first and the last one at once, others with pauses. @param {string} sentence */
  #announce(sentence) {
    this.#announcement = sentence;
    const over = this.#watch?.over;
    if (this.#announcementTimer && !over) return;
    clearTimeout(this.#announcementTimer);
    this.#write('live', sentence);
    if (over) return;
    this.#announcementTimer = setTimeout(() => {
      this.#announcementTimer = undefined;
      if (this.#announcement !== sentence) this.#announce(this.#announcement);
    }, ANNOUNCEMENT_INTERVAL);
  }
}

// Few pages have such a form.
const loadForm = () => document.querySelector('form[data-progress], .pp-form') && import('./form.js');
addEventListener('focusin', loadForm);
loadForm();

if (!customElements.get('pyramid-progress')) customElements.define('pyramid-progress', PyramidProgressElement);
