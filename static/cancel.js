/**
 * Asks the server to stop a task, when the visitor presses the button of its bar.
 *
 * @import { Watch } from './poller.js'
 */

/**
 * Sends a form that is not part of the page: the response, which the browser shows, gives the reason why the task was not
 * cancelled, or is a page to sign in.
 *
 * @param {string} action @param {URLSearchParams} fields
 */
function sendForm(action, fields) {
  const form = document.createElement('form');
  form.method = 'post';
  form.action = action;
  form.hidden = true;
  for (const [name, value] of fields) {
    const input = document.createElement('input');
    Object.assign(input, { type: 'hidden', name, value });
    form.append(input);
  }
  document.body.append(form);
  HTMLFormElement.prototype.submit.call(form);
}

/**
 * Sends the request with its CSRF token, as a field or a header, and shows the answer.
 *
 * @param {HTMLElement} button which has the data of the request
 * @param {Watch} watch of the bar
 */
export async function cancel({ dataset: { action = '', csrfName, csrfHeader, csrfToken = '' } }, watch) {
  const body = new URLSearchParams({ progress_id: watch.id });
  if (csrfName) body.set(csrfName, csrfToken);
  const headers = { Accept: 'application/json', ...(csrfHeader && { [csrfHeader]: csrfToken }) };
  const response = await fetch(action, { method: 'POST', body, headers }).catch(() => null);
  const status = response?.ok && !response.redirected ? await response.json().catch(() => null) : null;
  if (status) watch.answer(status, performance.now());
  // After 409, the next poll shows the end. A form cannot send a header.
  else if (response && response.status !== 409 && !csrfHeader) sendForm(action, body);
}
