/**
 * Does what the attribute `when-finished` says, at the end of a task that the page followed.
 *
 * @import { Status } from './types.js'
 */
import type { Status } from './types.js';
/**
 * Loads the page again, or follows the link of the result.
 *
 * @param {string} action the attribute's value
 * @param {string} id the task's id
 * @param {Status} status of the end
 * @param {string} url of the result, or ''
 * @param {boolean} wasActive whether the page followed the task before its end: then the reaction cannot be a repeated one
 */
export declare function react(action: string, id: string, status: Status, url: string, wasActive: boolean): void;
