/**
 * Writes the time left and the rate of a task. It is loaded with the first estimate.
 *
 * @import { Estimate, Status } from './types.js'
 */
import type { Estimate, Status } from './types.js';
/** Rounded as an estimate deserves: to 1 s, 5 s, 1 min or 1 h. @param {number} ms @param {string} [lang] */
export declare function formatDuration(ms: number, lang?: string): string;
/**
 * @param {Status} status @param {Estimate} estimate
 * @param {Record<string, string>} words of the page @param {string} [lang]
 */
export declare function formatPace(
  { current }: Status,
  estimate: Estimate,
  words: Record<string, string>,
  lang?: string,
): string;
