/**
 * The element `<pyramid-progress>`.
 *
 * @import { Shown, State, Status, WatchOptions } from './types.js'
 */

import { formatCount, formatNumber, join } from './format.js';
import { ProgressPoller, Watch, pageConfig, percentage } from './poller.js';

/** The shortest one. All times are in ms. */
const MIN_INTERVAL = 100;
/** Of screen readers (WCAG technique ARIA25). */
const ANNOUNCEMENT_INTERVAL = 10000;
/** From the submit to the first poll: in WebKit, an earlier one fails. */
const FORM_DELAY = 250;
/** HTTP or relative; no other URL scheme. */
const WEB_URL = /^(https?:|[^:/?#]*([/?#]|$))/i;
const PARTS = ['label', 'amount', 'line', 'live', 'state', 'elapsed', 'count', 'message', 'pace', 'result'];
/** @type {Partial<typeof import('./pace.js')>} */
let times = {};
/** By task, for markup that the page writes anew. @type {Map<string, Shown>} */
const shown = new Map();

/** @param {unknown} value */
function text(value) {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** @param {Element | null} node @param {string} name @param {string | null} value */
function set(node, name, value) {
  if (!node || node.getAttribute(name) === value) return;
  if (value === null) node.removeAttribute(name);
  else node.setAttribute(name, value);
}

/** '' if there is no safe one. @param {Status} status */
function resultUrl({ result }) {
  const url = text(result?.url);
  return WEB_URL.test(url) ? url : '';
}

export class PyramidProgressElement extends HTMLElement {
  static observedAttributes = [
    'progress-id',
    'src',
    'poll-min',
    'poll-max',
    'patience',
    'status',
    'no-count',
    'no-elapsed',
  ];

  /** @type {Watch | undefined} */
  #watch;
  /** @type {ProgressPoller | undefined} */
  #poller;
  /** Latest text, written or not. */
  #announcement = '';
  /** Runs until the next one. */
  #announcementTimer = 0;
  /** NaN if no elapsed time is shown. */
  #startTime = NaN;

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
    return Math.max(this.#ms('poll-min', pageConfig().min ?? 500), MIN_INTERVAL);
  }
  set pollMin(value) {
    this.setAttribute('poll-min', String(value));
  }

  get pollMax() {
    return Math.max(this.#ms('poll-max', pageConfig().max ?? 5000), this.pollMin);
  }
  set pollMax(value) {
    this.setAttribute('poll-max', String(value));
  }

  get patience() {
    return this.#ms('patience', 30000);
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

  get noCount() {
    return this.hasAttribute('no-count');
  }
  set noCount(value) {
    this.toggleAttribute('no-count', value);
  }

  get noElapsed() {
    return this.hasAttribute('no-elapsed');
  }
  set noElapsed(value) {
    this.toggleAttribute('no-elapsed', value);
  }

  /** @returns {State} */
  get state() {
    return this.#shown.state;
  }

  /** @returns {Status} */
  get status() {
    return this.#shown.status;
  }

  /** @returns {Shown} */
  get #shown() {
    const { state = 'waiting', status = { status: 'unknown' } } = this.#watch ?? {};
    return (state === 'waiting' && status.status === 'unknown' && shown.get(this.progressId)) || { state, status };
  }

  /** Follows a new run of the task. */
  restart() {
    shown.delete(this.progressId);
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
    // A moved element is connected again at once.
    queueMicrotask(() => this.isConnected || this.#leave());
  }

  /** @param {string} name @param {string | null} old @param {string | null} value */
  attributeChangedCallback(name, old, value) {
    const watch = this.#watch;
    if (!watch) return;
    if (name === 'progress-id' && old === value) {
      if (watch.over || watch.state === 'unknown') this.restart();
    } else if (old === value) {
      return;
    } else if (name === 'progress-id' || name === 'src') {
      this.removeAttribute('status'); // of the other task
      this.#follow({});
    } else if (name === 'status') {
      // A script that morphs the page wrote a newer one.
      if (value !== null && value !== JSON.stringify(watch.status)) this.#follow({ status: this.#renderedStatus() });
    } else {
      Object.assign(watch, this.#timing());
      this.#draw();
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
      isAttached: () => this.#isAttached,
    });
    return watch;
  }

  /** The removal of a frame calls no `disconnectedCallback`. */
  get #isAttached() {
    return this.isConnected && this.ownerDocument.defaultView !== null;
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
    this.#announcementTimer = 0;
  }

  /** @param {string} name @param {number} otherwise */
  #ms(name, otherwise) {
    const value = Number(this.getAttribute(name));
    return value > 0 ? value : otherwise;
  }

  #timing() {
    return { min: this.pollMin, max: this.pollMax, patience: this.patience };
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
    // A listener may have changed the task.
    if (watch !== this.#watch || state !== 'finished' || !this.whenFinished) return;
    import('./when-finished.js').then(({ react }) =>
      react(this.whenFinished, watch.id, detail, resultUrl(detail), watch.wasActive),
    );
  }

  #draw() {
    const { state, status } = this.#shown;
    if (shown.size > 500) shown.clear();
    if (this.#watch?.known) shown.set(this.progressId, { state, status });
    const { words = {} } = pageConfig();
    const language = this.#language;
    const done = percentage(status);
    let amount = '';
    if (state !== 'cancelled') {
      if (done !== undefined) amount = formatNumber(Math.floor(done) / 100, language, { style: 'percent' });
      else if (typeof status.current === 'number' && status.current) amount = formatNumber(status.current, language);
    }
    const isActive = state === 'running' || state === 'indeterminate';
    // The application's own words are shown as they are.
    const word = isActive && status.status !== 'running' ? status.status : (words[state] ?? state);
    const estimate = isActive && this.#watch?.estimate;
    const hasCount = done !== undefined && !/^(waiting|finished|cancelled)$/.test(state) && !this.noCount;
    const count = hasCount ? formatCount(status, words, language) : '';
    const pace = (estimate && times.formatPace?.(status, estimate, words, language)) || '';
    const message = text(status.message);
    const label = text(status.label);
    const name = label || text(words.progress);
    const url = resultUrl(status);
    const result = text(status.result?.text) || (url && text(words.result));

    const bar = this.#bar();
    set(bar, 'value', state === 'indeterminate' ? null : `${done ?? 0}`);
    set(bar, 'aria-label', name);
    set(bar, 'aria-valuetext', join(amount, word));
    set(this, 'state', state);
    this.#write({ label, amount, state: word, count, message, pace, result });
    const hasElapsed = (isActive || state === 'cancelling') && !this.noElapsed;
    this.#startTime = hasElapsed ? Date.parse(status.started ?? '') : NaN;
    if (this.#writeElapsed() || estimate) {
      if (times.everySecond) times.everySecond(this.#writeElapsed);
      else import('./pace.js').then((module) => ((times = module), this.#draw()));
    }
    set(this.querySelector('.pp-result'), 'href', url || null);
    const cancel = this.querySelector('.pp-cancel');
    const hidden = status.cancellable && !this.#watch?.over ? null : '';
    if (hidden === '' && cancel?.matches(':focus')) {
      // A hidden element loses the focus.
      bar.tabIndex = -1;
      bar.focus();
    }
    set(cancel, 'hidden', hidden);
    // A rendered end is not announced.
    if (this.#poller) this.#announce(join(name, amount, word, pace || message));
  }

  #writeElapsed = (now = Date.now()) => {
    // By the server's clock; -Infinity before the first answer: what is written stays.
    const elapsed = now + (this.#poller?.clockOffset ?? -Infinity) - this.#startTime;
    const { words = {} } = pageConfig();
    if (elapsed !== -Infinity) {
      this.#write({ elapsed: elapsed >= 1000 ? times.formatElapsed?.(elapsed, words, this.#language) : '' });
    }
    return elapsed > -Infinity && this.#isAttached;
  };

  get #language() {
    return this.closest('[lang]')?.getAttribute('lang') || pageConfig().lang;
  }

  #bar() {
    let bar = this.querySelector('progress');
    if (!bar) {
      bar = document.createElement('progress');
      bar.max = 100;
      const [label, amount, line, live, ...parts] = PARTS.map((part) => {
        const element = document.createElement(part === 'result' ? 'a' : 'span');
        element.className = `pp-${part}`;
        if (part !== 'line') element.dir = 'auto';
        return element;
      });
      live.role = 'status';
      line.append(...parts.flatMap((element) => [element, ' ']));
      this.replaceChildren(label, ' ', amount, bar, line, live);
    }
    return bar;
  }

  /** @param {Record<string, string | undefined>} parts */
  #write(parts) {
    for (const part in parts) {
      const content = parts[part];
      const node = this.querySelector(`.pp-${part}`);
      if (!node || content === undefined || content === node.textContent) continue;
      (node.firstChild ?? node).textContent = content;
    }
  }

  /** The first and the last one at once, others with pauses. @param {string} sentence */
  #announce(sentence) {
    this.#announcement = sentence;
    const over = this.#watch?.over;
    if (this.#announcementTimer && !over) return;
    clearTimeout(this.#announcementTimer);
    this.#write({ live: sentence });
    if (over) return;
    this.#announcementTimer = setTimeout(() => {
      this.#announcementTimer = 0;
      if (this.#announcement !== sentence) this.#announce(this.#announcement);
    }, ANNOUNCEMENT_INTERVAL);
  }
}

// Few pages have such a form.
const loadForm = () => document.querySelector('form[data-progress], .pp-form') && import('./form.js');
addEventListener('focusin', loadForm);
loadForm();

if (!customElements.get('pyramid-progress')) customElements.define('pyramid-progress', PyramidProgressElement);
