/** Forms whose POST is the slow work: a bar shows while the browser waits for the answer. */

import './progress.js';

/** Seconds that an upload may take before the work starts. */
const PATIENCE = 3600;

const BAR = '.pp-form';
const FORM = `form:is([data-progress], :has(${BAR}))`;

/** 128 random bits, as `new_progress_id()` makes them. */
function newProgressId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Gives a POST its id, and shows the bar of that; the browser sends it as it always does. @param {SubmitEvent} event */
function send({ target, submitter, defaultPrevented }) {
  if (defaultPrevented || !(target instanceof HTMLFormElement) || !target.matches(FORM)) return;
  const method = submitter?.getAttribute('formmethod') ?? target.getAttribute('method');
  if (method?.toLowerCase() !== 'post') return;
  const id = newProgressId();
  // Not as a field: to a form that has one more, browsers give nothing back of what was filled in.
  target.addEventListener('formdata', ({ formData }) => formData.set('progress_id', id), { once: true });
  let bar = target.querySelector(BAR);
  if (!bar) {
    bar = document.createElement('pyramid-progress');
    bar.className = 'pp-form';
    target.append(bar);
  }
  if (!bar.hasAttribute('patience')) bar.setAttribute('patience', `${PATIENCE}`);
  bar.setAttribute('progress-id', id);
  bar.removeAttribute('hidden');
  bar.scrollIntoView({ block: 'nearest' });
}

/** A page that the back button brings back, as it was left, waits for nothing. @param {PageTransitionEvent} event */
function comeBack({ persisted }) {
  if (!persisted) return;
  for (const bar of document.querySelectorAll(BAR)) {
    bar.removeAttribute('progress-id');
    bar.setAttribute('hidden', '');
  }
}

// At the window, last of all: what the page itself prevents is not sent.
addEventListener('submit', send);
addEventListener('pageshow', comeBack);
