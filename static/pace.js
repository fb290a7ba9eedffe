/**
 * Times and rates of a task. It is loaded on demand.
 *
 * @import { Estimate, Status, Words } from './types.js'
 */

import { fill, formatNumber } from './format.js';

/** In seconds. */
const UNITS = { days: 86400, hours: 3600, minutes: 60, seconds: 1 };

/** The time since the start, in the two longest units, as the server writes it. @param {number} ms @param {Words} words @param {string} [lang] */
export function formatElapsed(ms, words, lang) {
  let word;
  let rest = Math.floor(ms / 1000);
  /** @type {Record<string, string>} */
  const values = {};
  for (const [unit, size] of Object.entries(UNITS)) {
    if (rest >= size) word ??= unit;
    // The longer units are not written.
    if (word || unit === 'seconds') values[unit] = formatNumber(Math.floor(rest / size), lang);
    rest %= size;
  }
  return fill(words[word ?? 'seconds'], values);
}

/** The duration, rounded to 1 s, 5 s, 1 min or 1 h. @param {number} ms @param {string} [lang] */
export function formatDuration(ms, lang) {
  const seconds = ms / 1000;
  const minutes = Math.round(seconds / 60);
  /** @type {[number, string]} */
  let [value, unit] = [Math.round(minutes / 60), 'hour'];
  if (seconds < 9.5) [value, unit] = [Math.max(Math.round(seconds), 1), 'second'];
  else if (seconds < 87.5) [value, unit] = [Math.round(seconds / 5) * 5, 'second'];
  else if (minutes < 90) [value, unit] = [minutes, 'minute'];
  return formatNumber(value, lang, { style: 'unit', unit, unitDisplay: 'long' });
}

/**
 * The time left and the rate.
 *
 * @param {Status} status @param {Estimate} estimate @param {Words} words @param {string} [lang]
 */
export function formatPace({ current }, estimate, words, lang) {
  const hasEnd = estimate.left < Infinity;
  const left = hasEnd ? fill(words.left, { time: formatDuration(estimate.left, lang) }) : '';
  // No rate is shown for fractions of a unit, as in stages.
  if (estimate.rate <= 1e-5 || !Number.isInteger(current)) return left;
  const count = formatNumber(Number((estimate.rate * 1000).toPrecision(2)), lang);
  const rate = fill(words.rate, { count });
  return hasEnd ? fill(words.pace, { left, rate }) : rate;
}

/** @type {Set<(now: number) => boolean>} */
const clocks = new Set();
let timer = 0;

/** Calls all clocks in one task: the browser then computes one layout for all bars. */
function tick() {
  // A timer may be early.
  const now = Math.floor((Date.now() + 50) / 1000) * 1000;
  timer = 0;
  for (const write of clocks) if (!write(now)) clocks.delete(write);
  if (clocks.size) timer = setTimeout(tick, now + 1000 - Date.now());
}

/** Calls `write` with the time at each full second, until it returns false. @param {(now: number) => boolean} write */
export function everySecond(write) {
  clocks.add(write);
  timer ||= setTimeout(tick, 1000 - (Date.now() % 1000));
}
