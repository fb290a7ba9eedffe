/**
 * Shows a bar in a form whose POST is the slow work, while the browser waits for the response. The page also loads
 * `progress.js`, which defines the element.
 */

// The bar needs these modules while the answer is pending: WebKit and Firefox load none then.
import './pace.js';
import { pageConfig } from './poller.js';

if (pageConfig().events) import('./stream.js').catch(() => {});

/** The time in ms that an upload may take before the task starts. */
const UPLOAD_PATIENCE = 600_000;

const BAR = '.pp-form';
const FORM = `form:is([data-progress], :has(${BAR}))`;

// A field of a form hides the form's own property of the same name, so the methods are taken from the prototype.
const { append, getAttribute, matches, querySelector } = Element.prototype;

/** The form that is being submitted. @type {{ form: HTMLFormElement, id: string } | undefined} */
let submission;

/** Returns 128 random bits as hexadecimal digits, as `new_progress_id()` in Python does. */
function newProgressId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Chooses an id for a POST that the browser is about to send. @param {SubmitEvent} event */
function onSubmit({ target, submitter, defaultPrevented }) {
  if (defaultPrevented || !(target instanceof HTMLFormElement) || !matches.call(target, FORM)) return;
  const method = submitter?.getAttribute('formmethod') ?? getAttribute.call(target, 'method');
  if (method?.toLowerCase() !== 'post') return;
  submission = { form: target, id: newProgressId() };
  setTimeout(() => (submission = undefined));
}

/**
 * Adds the id to the data of the form and shows the bar. The id is not a field of the form, because browsers do not
 * restore the fields of a form that has one more than before.
 *
 * @param {FormDataEvent} event
 */
function onFormData({ target, formData }) {
  if (!submission || submission.form !== target) return;
  const { form, id } = submission;
  formData.set('progress_id', id);
  let bar = querySelector.call(form, BAR);
  if (!bar) {
    bar = document.createElement('pyramid-progress');
    bar.className = BAR.slice(1);
    append.call(form, bar);
  }
  if (!bar.hasAttribute('patience')) bar.setAttribute('patience', `${UPLOAD_PATIENCE}`);
  bar.removeAttribute('hidden');
  bar.setAttribute('progress-id', id);
  bar.scrollIntoView({ block: 'nearest' });
}

/** Hides the bars of a page from the back/forward cache. @param {PageTransitionEvent} event */
function onPageShow({ persisted }) {
  if (!persisted) return;
  for (const bar of document.querySelectorAll(BAR)) {
    bar.removeAttribute('progress-id');
    bar.setAttribute('hidden', '');
  }
}

addEventListener('submit', onSubmit);
addEventListener('formdata', onFormData);
addEventListener('pageshow', onPageShow);
