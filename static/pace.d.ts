/**
 * Times and rates of a task. It is loaded on demand.
 *
 * @import { Estimate, Status, Words } from './types.js'
 */
import type { Estimate, Status, Words } from './types.js';
/** The time since the start, in the two longest units, as the server writes it. @param {number} ms @param {Words} words @param {string} [lang] */
export declare function formatElapsed(ms: number, words: Words, lang?: string): string;
/** The duration, rounded to 1 s, 5 s, 1 min or 1 h. @param {number} ms @param {string} [lang] */
export declare function formatDuration(ms: number, lang?: string): string;
/**
 * The time left and the rate.
 *
 * @param {Status} status @param {Estimate} estimate @param {Words} words @param {string} [lang]
 */
export declare function formatPace({ current }: Status, estimate: Estimate, words: Words, lang?: string): string;
/** Calls `write` with the time at each full second, until it returns false. @param {(now: number) => boolean} write */
export declare function everySecond(write: (now: number) => boolean): void;
