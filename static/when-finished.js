/**
 * Does what the attribute `when-finished` says, at the end of a task that the page followed.
 *
 * @import { Status } from './types.js'
 */

/**
 * Whether this tab has not reacted to the end of this run yet. It remembers the run across a reload, so that a page whose
 * server does not render the end is reloaded only once.
 *
 * @param {string} id @param {Status} status
 */
function isFirstReaction(id, status) {
  const key = `pyramid-progress ${id}`;
  const run = status.started ?? JSON.stringify(status);
  try {
    const last = sessionStorage.getItem(key);
    sessionStorage.setItem(key, run);
    return last !== run;
  } catch {
    return false; // the storage is blocked
  }
}

/**
 * Loads the page again, or follows the link of the result.
 *
 * @param {string} action the attribute's value
 * @param {string} id the task's id
 * @param {Status} status of the end
 * @param {string} url of the result, or ''
 * @param {boolean} wasActive whether the page followed the task before its end: then the reaction cannot be a repeated one
 */
export function react(action, id, status, url, wasActive) {
  if (action !== 'reload' && !(action === 'result' && url)) return;
  if (!isFirstReaction(id, status) && !wasActive) return;
  if (action === 'reload') location.reload();
  else location.assign(url);
}
