/**
 * Keeps a task list up to date: adds new tasks, and updates the details below each bar. The bars update themselves. A
 * list that is filtered by status keeps a task whose status changes, so that its end can be read.
 *
 * @import { Status } from './types.js'
 * @typedef {Status & { removable?: boolean }} ListedStatus
 */

import { pageConfig } from './poller.js';

/** The time in ms between two requests for the list. */
const INTERVAL = 5000;
/** The most tasks that a filtered list keeps after their status has changed. */
const MAX_OTHERS = 25;
const LIST = '.pp-tasks[data-src]';
const BAR = 'pyramid-progress';
const ABOUT = '.pp-about';
const REMOVE = '.pp-remove';

/** @param {string} id @param {string} [started] */
function runKey(id, started) {
  return `${Date.parse(started ?? '')} ${id}`;
}

/** Returns the items of a list by run. @param {ParentNode} list @returns {Map<string, Element>} */
function itemsByRun(list) {
  const items = [...list.querySelectorAll(`ol > li:has(> ${BAR})`)];
  return new Map(items.map((item) => [runKey(idOf(item), item.querySelector('time')?.dateTime), item]));
}

/** @param {Element} item */
function idOf(item) {
  return item.querySelector(BAR)?.getAttribute('progress-id') ?? '';
}

/** Uses the browser's language if `lang` is invalid. @param {string} time @param {string} [lang] @returns {string} */
function formatTime(time, lang) {
  try {
    return new Date(time).toLocaleString(lang, { dateStyle: 'medium', timeStyle: 'short' });
  } catch {
    return formatTime(time);
  }
}

/**
 * Writes the times of a list in the visitor's time zone and the page's language, and shows the forms that need a script.
 *
 * @param {Element} list
 */
function prepare(list) {
  for (const form of list.querySelectorAll(REMOVE)) form.removeAttribute('hidden');
  for (const time of list.querySelectorAll('time')) {
    if (time.title) continue;
    time.title = time.textContent;
    time.textContent = formatTime(time.dateTime, pageConfig().lang);
  }
}

/**
 * Loads and parses a page. A content security policy that requires Trusted Types may forbid `DOMParser`.
 *
 * @param {string} url @returns {Promise<Document | null>}
 */
function loadPage(url) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open('GET', url);
    request.setRequestHeader('Accept', 'text/html');
    request.responseType = 'document';
    request.onloadend = () => resolve(request.status === 200 ? request.responseXML : null);
    request.send();
  });
}

/** Loads the page again if the list has changed. @param {Element} list @param {boolean} [always] */
async function refresh(list, always) {
  const src = list.getAttribute('data-src') ?? '';
  const response = await fetch(src, { headers: { Accept: 'application/json' }, redirect: 'manual' }).catch(() => null);
  if (!response?.ok) return;
  /** @type {{ tasks: Record<string, ListedStatus> }} */
  const { tasks } = await response.json();
  const hasStatus = new URL(src, location.href).searchParams.has('status');
  const shown = itemsByRun(list);
  const isCurrent = Object.entries(tasks).every(([id, { started, removable }]) => {
    const item = shown.get(runKey(id, started));
    return item && !item.querySelector(REMOVE) === !removable;
  });
  if (isCurrent && !always && (hasStatus || shown.size === Object.keys(tasks).length)) return;
  const loaded = (await loadPage(location.href))?.querySelector(LIST);
  if (loaded) merge(list, loaded, hasStatus);
}

/** @param {Element} list @param {Element} loaded the same list, as it is now @param {boolean} hasStatus */
function merge(list, loaded, hasStatus) {
  prepare(loaded);
  const shown = itemsByRun(list);
  const added = itemsByRun(loaded);
  /** @type {Element | undefined} */
  let last;
  for (const [run, item] of added) {
    let current = shown.get(run);
    const about = current?.querySelector(ABOUT);
    if (!current) {
      current = document.importNode(item, true);
      if (last) last.after(current);
      else list.querySelector('ol')?.prepend(current);
    } else if (about && !about.contains(document.activeElement)) {
      about.replaceWith(document.importNode(/** @type {Element} */ (item.querySelector(ABOUT)), true));
    }
    last = current;
  }
  const ids = new Set([...added.values()].map(idOf));
  const others = [...shown].filter(([run]) => !added.has(run)).map(([, item]) => item);
  others
    .filter((item, index) => !hasStatus || index >= MAX_OTHERS || ids.has(idOf(item)))
    .forEach((item) => item.remove());
  // The next page begins after the last task of this one.
  if (loaded.querySelector('[rel=next]')) while (last?.nextElementSibling) last.nextElementSibling.remove();
  for (const part of ['.pp-note', '.pp-pages']) {
    list
      .querySelector(part)
      ?.replaceWith(document.importNode(/** @type {Element} */ (loaded.querySelector(part)), true));
  }
  if (list.querySelector('ol > li')) list.querySelector('.pp-note')?.setAttribute('hidden', '');
}

/** Removes a task without loading the page again. @param {SubmitEvent} event */
async function onSubmit(event) {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.matches(`${LIST} ${REMOVE}`)) return;
  event.preventDefault();
  // Until the answer comes, the form may have been replaced.
  const list = /** @type {HTMLElement} */ (form.closest(LIST));
  const item = form.closest('li');
  const body = new URLSearchParams(/** @type {any} */ (new FormData(form)));
  const { csrfHeader, csrfToken = '' } = form.dataset;
  const headers = { Accept: 'application/json', ...(csrfHeader && { [csrfHeader]: csrfToken }) };
  const response = await fetch(form.action, { method: 'POST', body, headers }).catch(() => null);
  // 404: it was removed already; 409: a stalled task goes on.
  if (response && !response.redirected && (response.ok || response.status === 404 || response.status === 409)) {
    const next = item?.nextElementSibling ?? item?.previousElementSibling;
    if (response.status !== 409) item?.remove();
    /** @type {HTMLElement | null | undefined} */ (next?.querySelector(`${REMOVE} button, [href]`))?.focus();
    await refresh(list, true);
  } else if (response && !csrfHeader) {
    form.submit(); // The response gives the reason.
  }
}

async function keepCurrent() {
  // Not only those of the page that loaded this module: Turbo and htmx replace them.
  const lists = [...document.querySelectorAll('.pp-tasks')];
  lists.forEach(prepare);
  if (!document.hidden) await Promise.all(lists.filter((list) => list.matches(LIST)).map((list) => refresh(list)));
}

function start() {
  keepCurrent().finally(() => setTimeout(start, INTERVAL));
}

addEventListener('submit', onSubmit);
start();
