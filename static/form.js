/** Forms whose POST is the slow work: a bar shows while the browser waits for the answer. */

import './progress.js';

/** Seconds that an upload may take before the work starts. */
const PATIENCE = 600;

const BAR = '.pp-form';
const FORM = `form:is([data-progress], :has(${BAR}))`;

// A form's own are hidden by fields of the same name.
const { append, getAttribute, matches, querySelector } = Element.prototype;

/** What is being sent. @type {{ form: HTMLFormElement, id: string } | undefined} */
let sending;

/** 128 random bits, as `new_progress_id()` makes them. */
function newProgressId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Gives a POST an id, if it is sent indeed, as the browser always does. @param {SubmitEvent} event */
function submit({ target, submitter, defaultPrevented }) {
  if (defaultPrevented || !(target instanceof HTMLFormElement) || !matches.call(target, FORM)) return;
  const method = submitter?.getAttribute('formmethod') ?? getAttribute.call(target, 'method');
  if (method?.toLowerCase() !== 'post') return;
  sending = { form: target, id: newProgressId() };
  setTimeout(() => (sending = undefined));
}

/**
 * Adds the id, and shows its bar. It is no field: to a form that has one more, browsers give nothing back of what was
 * filled in.
 * @param {FormDataEvent} event
 */
function add({ target, formData }) {
  if (!sending || sending.form !== target) return;
  const { form, id } = sending;
  formData.set('progress_id', id);
  let bar = querySelector.call(form, BAR);
  if (!bar) {
    bar = document.createElement('pyramid-progress');
    bar.className = BAR.slice(1);
    append.call(form, bar);
  }
  if (!bar.hasAttribute('patience')) bar.setAttribute('patience', `${PATIENCE}`);
  bar.removeAttribute('hidden');
  bar.setAttribute('progress-id', id);
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

addEventListener('submit', submit);
addEventListener('formdata', add);
addEventListener('pageshow', comeBack);
