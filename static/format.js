/**
 * Writes numbers as the server does (`web/format.py`).
 *
 * @import { Status, Words } from './types.js'
 */

/** @type {Record<string, Intl.NumberFormat>} */
const formats = {};

/**
 * Uses the browser's language if `lang` is invalid.
 *
 * @param {number} value @param {string} [lang] @param {Intl.NumberFormatOptions} [options] @returns {string}
 */
export function formatNumber(value, lang, options = {}) {
  try {
    return (formats[`${options.unit ?? options.style} ${lang}`] ??= new Intl.NumberFormat(lang, options)).format(value);
  } catch {
    return formatNumber(value, undefined, options);
  }
}

/** @param {string | undefined} sentence with names in braces @param {Record<string, string>} values */
export function fill(sentence = '', values) {
  return sentence.replace(/{(\w+)}/g, (_, name) => values[name]);
}

/** The amount, or '' if a percentage shows the same. @param {Status} status @param {Words} words @param {string} [lang] */
export function formatCount({ current, length }, words, lang) {
  const done = current ?? 0;
  if (!length || length < 2 || length === 100 || !Number.isInteger(done) || !Number.isInteger(length)) return '';
  const most = Math.min(Math.max(done, 0), length);
  return fill(words.count, { current: formatNumber(most, lang), length: formatNumber(length, lang) });
}

/** @param {string[]} parts */
export function join(...parts) {
  return parts.filter(Boolean).join(', ');
}
