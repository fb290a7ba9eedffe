/**
 * Asks the server to stop a task, when the visitor presses the button of its bar.
 *
 * @import { Watch } from './poller.js'
 */
import type { Watch } from './poller.js';
/**
 * Sends the request with its CSRF token, as a field or a header, and shows the answer.
 *
 * @param {HTMLElement} button which has the data of the request
 * @param {Watch} watch of the bar
 */
export declare function cancel(
  {
    dataset: { action, csrfName, csrfHeader, csrfToken },
  }: HTMLElement,
  watch: Watch,
): Promise<void>;
