/** How numbers and durations are written. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { formatDuration, formatNumber } from '../../static/format.js';

for (const [seconds, text] of [
  [0, '1 second'],
  [0.526, '1 second'], // 5 of 30 units at 9.5 a second
  [1.4, '1 second'],
  [4.6, '5 seconds'],
  [9.4, '9 seconds'],
  [9.5, '10 seconds'],
  [12.4, '10 seconds'],
  [12.5, '15 seconds'],
  [58, '60 seconds'],
  [87.4, '85 seconds'],
  [87.5, '1 minute'],
  [90, '2 minutes'],
  [297, '5 minutes'],
  [5369, '89 minutes'],
  [5370, '2 hours'],
  [36_000, '10 hours'],
]) {
  test(`${seconds} s are ${text}`, () => {
    assert.equal(formatDuration(seconds * 1000, 'en'), text);
  });
}

test('a duration is written in the language', () => {
  assert.equal(formatDuration(1000, 'de'), '1 Sekunde');
  assert.equal(formatDuration(300_000, 'fr'), '5 minutes');
});

test('a number is written in the language, and in the default one if there is no such language', () => {
  assert.equal(formatNumber(1234.5, {}, 'de'), '1.234,5');
  assert.equal(formatNumber(0.42, { style: 'percent' }, 'en'), '42%');
  assert.equal(formatNumber(7, {}, 'en_US'), '7');
});
