/** Writes numbers and times in a language. */

/** @type {Record<string, Intl.NumberFormat>} */
const formats = {};

/** In the browser's language if `lang` is not a language. */
/** @param {number} value @param {Intl.NumberFormatOptions} options @param {string} [lang] @returns {string} */
export function formatNumber(value, options, lang) {
  try {
    return (formats[`${options.unit ?? options.style} ${lang}`] ??= new Intl.NumberFormat(lang, options)).format(value);
  } catch {
    return formatNumber(value, options);
  }
}

/** Rounded as an estimate deserves: to 1 s, 5 s, 1 min or 1 h. @param {number} ms @param {string} [lang] */
export function formatDuration(ms, lang) {
  const seconds = ms / 1000;
  const minutes = Math.round(seconds / 60);
  /** @type {[number, string]} */
  let [value, unit] = [Math.round(minutes / 60), 'hour'];
  if (seconds < 9.5) [value, unit] = [Math.max(Math.round(seconds), 1), 'second'];
  else if (seconds < 87.5) [value, unit] = [Math.round(seconds / 5) * 5, 'second'];
  else if (minutes < 90) [value, unit] = [minutes, 'minute'];
  return formatNumber(value, { style: 'unit', unit, unitDisplay: 'long' }, lang);
}
