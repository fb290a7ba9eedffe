/** Numbers, amounts, times and states: the cases in `tests/cases/format.json`, which the Python tests run, too. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { formatCount, formatNumber } from '../../static/format.js';
import { formatDuration, formatElapsed, formatPace } from '../../static/pace.js';
import { Watch, percentage } from '../../static/poller.js';

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf-8');
const cases = JSON.parse(read('tests/cases/format.json'));

/** The words of a language, as the server sends them. */
function wordsOf(language) {
  const catalogue = read(`pyramid_progress/locale/${language.replace('-', '_')}/LC_MESSAGES/pyramid_progress.po`);
  const messages = catalogue.matchAll(/^msgid "(.+)"\nmsgstr "(.+)"$/gm);
  return Object.fromEntries(Array.from(messages, ([, id, text]) => [id, text.replaceAll('${', '{')]));
}

for (const [language, value, text] of cases.numbers) {
  test(`the number ${value} in ${language}`, () => {
    assert.equal(formatNumber(value, language), text);
  });
}

for (const [language, percent, text] of cases.percentages) {
  test(`${percent} percent in ${language}`, () => {
    assert.equal(formatNumber(Math.floor(percent) / 100, language, { style: 'percent' }), text);
  });
}

for (const [language, current, length, text] of cases.counts) {
  test(`${current} of ${length} in ${language}`, () => {
    assert.equal(formatCount({ status: 'running', current, length }, wordsOf(language), language), text);
  });
}

for (const [language, seconds, text] of cases.elapsed) {
  test(`${seconds} s since the start in ${language}`, () => {
    assert.equal(formatElapsed(seconds * 1000, wordsOf(language), language), text);
  });
}

// The server does not write it. In plural forms, which the browser has.
for (const [language, seconds, text] of cases.left) {
  test(`${seconds} s left in ${language}`, () => {
    assert.equal(formatDuration(seconds * 1000, language), text);
  });
}

for (const [status, state, percent] of cases.states) {
  test(`the state of ${JSON.stringify(status)}`, () => {
    assert.equal(new Watch('a', () => {}, { status }).state, state);
    assert.equal(percentage(status) ?? null, percent);
  });
}

test('an amount without a position is one of 0', () => {
  assert.equal(formatCount({ status: 'running', length: 30 }, wordsOf('en'), 'en'), '0 of 30');
});

test('the pace is the time left and the rate', () => {
  const status = { status: 'running', current: 25, length: 30 };
  const pace = (changes, estimate) => formatPace({ ...status, ...changes }, estimate, wordsOf('en'), 'en');
  assert.equal(pace({}, { left: 526, rate: 0.0095 }), 'About 1 second left, 9.5 per second');
  assert.equal(pace({}, { left: Infinity, rate: 0.0095 }), '9.5 per second');
  const words = wordsOf('ar');
  assert.match(formatPace(status, { left: 526, rate: 0.0095 }, words, 'ar'), /تقريبًا، 9\.5 في/);
  assert.equal(pace({ current: 25.5 }, { left: 526, rate: 0.0095 }), 'About 1 second left');
});

test('a number is in the default language if there is no such language', () => {
  assert.equal(formatNumber(7, 'en_US'), '7');
});
