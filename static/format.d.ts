/**
 * Writes numbers as the server does (`web/format.py`).
 *
 * @import { Status, Words } from './types.js'
 */
import type { Status, Words } from './types.js';
/**
 * Uses the browser's language if `lang` is invalid.
 *
 * @param {number} value @param {string} [lang] @param {Intl.NumberFormatOptions} [options] @returns {string}
 */
export declare function formatNumber(value: number, lang?: string, options?: Intl.NumberFormatOptions): string;
/** @param {string | undefined} sentence with names in braces @param {Record<string, string>} values */
export declare function fill(sentence: string | undefined, values: Record<string, string>): string;
/** The amount, or '' if a percentage shows the same. @param {Status} status @param {Words} words @param {string} [lang] */
export declare function formatCount({ current, length }: Status, words: Words, lang?: string): string;
/** @param {string[]} parts */
export declare function join(...parts: string[]): string;
