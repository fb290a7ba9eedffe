/** How a watch turns answers into a state, an interval and an estimate. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Watch, percentage } from '../../static/poller.js';

const watch = (options) => new Watch('t', () => {}, options);

for (const [current, length, expected] of [
  [0, 100, 0],
  [29, 100, 29],
  [57, 100, 57],
  [999, 1000, 99.9],
  [99999999, 100000000, 99.9],
  [100, 100, 100],
  [150, 100, 100],
  [-5, 100, 0],
  [0.5, 2.5, 20],
  [0, 0, 100],
  [null, 0, 100],
  [null, 10, 0],
  [undefined, 10, 0],
  [5, null, undefined],
  [5, undefined, undefined],
  [5, -1, undefined],
  ['5', 10, undefined],
  [5, '10', undefined],
  [true, 10, undefined],
]) {
  test(`${JSON.stringify(current)} of ${JSON.stringify(length)} is ${expected} %`, () => {
    assert.equal(percentage({ status: 'running', current, length }), expected);
  });
}

test('a finished task is complete, whatever its position', () => {
  assert.equal(percentage({ status: 'finished', current: 3, length: 10 }), 100);
  assert.equal(percentage({ status: 'failed', current: 3, length: 10 }), 30);
});

for (const [status, state] of [
  [{ status: 'unknown' }, 'waiting'],
  [{ status: 'pending' }, 'waiting'],
  [{ status: 'running', length: 10 }, 'running'],
  [{ status: 'running' }, 'indeterminate'],
  [{ status: 'packing', length: 10 }, 'running'],
  [{ status: 'packing' }, 'indeterminate'],
  [{ status: 'stalled', length: 10 }, 'stalled'],
  [{ status: 'cancelling' }, 'cancelling'],
  [{ status: 'finished' }, 'finished'],
  [{ status: 'failed' }, 'failed'],
  [{ status: 'cancelled' }, 'cancelled'],
]) {
  test(`${JSON.stringify(status)} shows as ${state}`, () => {
    assert.equal(watch({ status }).state, state);
    const learning = watch();
    learning.answer(status, 0);
    assert.equal(learning.state, state);
  });
}

test('a known task is lost after three misses in a row', () => {
  const one = watch({ status: { status: 'running', length: 10 } });
  const states = ['unknown', 'unknown', 'running', 'unknown', 'unknown', 'unknown'].map((status, i) => {
    one.answer({ status, length: 10 }, i);
    return one.state;
  });
  assert.deepEqual(states, ['running', 'running', 'running', 'running', 'running', 'lost']);
  assert.equal(one.over, true);
});

test('a task that was never known is unknown after the patience, and recovers', () => {
  const one = watch({ patience: 1000 });
  for (const [now, state] of [
    [500, 'waiting'],
    [1499, 'waiting'],
    [1500, 'unknown'],
  ]) {
    one.answer({ status: 'unknown' }, now);
    assert.equal(one.state, state);
  }
  assert.equal(one.over, false);
  one.answer({ status: 'running', length: 10 }, 60_000);
  assert.equal(one.state, 'running');
});

test('a task that was known is not unknown after the patience', () => {
  const one = watch({ patience: 1000 });
  one.answer({ status: 'unknown' }, 0);
  one.answer({ status: 'pending' }, 500);
  one.answer({ status: 'unknown' }, 5000);
  assert.equal(one.state, 'waiting');
});

for (const end of ['finished', 'failed', 'cancelled']) {
  test(`a task that has ${end} does not change any more`, () => {
    const one = watch();
    one.answer({ status: end, message: 'the end' }, 0);
    one.answer({ status: 'running', length: 10 }, 1);
    one.become('trouble');
    assert.deepEqual([one.state, one.status], [end, { status: end, message: 'the end' }]);
  });
}

test('trouble keeps the last status and ends with the next answer', () => {
  const status = { status: 'running', current: 5, length: 10 };
  const one = watch({ status });
  one.become('trouble');
  assert.deepEqual([one.state, one.status, one.over], ['trouble', status, false]);
  one.answer({ ...status }, 1);
  assert.equal(one.state, 'running');
});

test('the listener is called for changes only', async () => {
  const calls = [];
  const one = new Watch('t', ({ status }) => calls.push(status.current));
  for (const current of [1, 1, 2, 2, 2, 3]) {
    one.answer({ status: 'running', current, length: 3 }, current);
    await null;
  }
  assert.deepEqual(calls, [1, 2, 3]);
});

test('the expected end follows from the rate', () => {
  const one = watch();
  assert.equal(one.end, Infinity);
  for (let at = 0; at <= 3000; at += 1000) one.answer({ status: 'running', current: at / 100, length: 100 }, at);
  assert.equal(one.end, 10_000);
  one.answer({ status: 'running', current: 10, length: 100 }, 4000);
  assert.equal(one.end, Infinity, 'the position went back');
});

test('a task that stands still has no expected end', () => {
  const one = watch();
  for (let at = 0; at <= 2000; at += 1000) one.answer({ status: 'running', current: at, length: 9000 }, at);
  one.answer({ status: 'running', current: 2000, length: 9000 }, 4000);
  assert.equal(one.end, 9000);
  one.answer({ status: 'running', current: 2000, length: 9000 }, 4001);
  assert.equal(one.end, Infinity);
});

/** Returns the estimates for a task that is polled once a second at these positions. */
function estimates(positions, length = 100) {
  const one = watch();
  return positions.map((current, i) => {
    one.answer({ status: 'running', current, length }, i * 1000);
    return one.estimate;
  });
}

test('a steady rate gives an estimate after five polls', () => {
  assert.deepEqual(estimates([0, 10, 20, 30, 40, 50]), [
    undefined,
    undefined,
    undefined,
    undefined,
    { rate: 0.01, left: 6000 },
    { rate: 0.01, left: 5000 },
  ]);
});

test('many answers, as a stream brings them, give the same estimate as few', () => {
  const one = watch();
  let current = 0;
  for (let now = 0; now <= 60_000; now += 200) {
    // Now slow, now fast.
    current += now % 4000 < 2000 ? 1 : 3;
    one.answer({ status: 'running', current, length: 1000 }, now);
  }
  assert.ok(Math.abs(one.estimate?.rate - 0.01) < 0.001, `${one.estimate?.rate}`);
});

test('a rate that changes gives no estimate', () => {
  assert.equal(estimates([0, 10, 20, 21, 22]).at(-1), undefined, 'slower');
  assert.equal(estimates([0, 1, 2, 12, 22]).at(-1), undefined, 'faster');
  assert.ok(estimates([0, 10, 20, 27, 34]).at(-1), 'a little slower counts as steady');
});

test('there is no estimate any more when the task stands still', () => {
  const all = estimates([0, 10, 20, 30, 40, 40, 40, 40, 40, 40]);
  assert.ok(all[8]);
  assert.equal(all[9], undefined);
});

test('there is no estimate at the end, for an invalid length, and for a length that grows', () => {
  const last = (positions, length) => estimates(positions, length).at(-1);
  assert.equal(last([20, 40, 60, 80, 100, 100], 100), undefined, 'complete, but not ended');
  assert.equal(last([15, 35, 55, 75, 95, 95, 95], 100), undefined, 'overdue');
  assert.equal(last([0, 10, 20, 30, 40], -1), undefined, 'invalid length');
  const one = watch();
  for (let i = 0; i < 9; i += 1) {
    one.answer({ status: 'running', current: i * 10, length: i * 10 + 50 }, i * 1000);
    assert.equal(one.estimate, undefined, 'the length grows');
  }
});

test('the estimate of a task without length has no end', () => {
  assert.deepEqual(estimates([0, 10, 20, 30, 40], null).at(-1), { rate: 0.01, left: Infinity });
});

test('the listener is called when an estimate appears and when it disappears', async () => {
  const calls = [];
  const one = new Watch('t', ({ status, estimate }) => calls.push([status.current, estimate?.rate]));
  for (const [i, current] of [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4].entries()) {
    one.answer({ status: 'running', current }, i * 1000);
    await null;
  }
  assert.deepEqual(calls.slice(-2), [
    [4, 0.001],
    [4, undefined],
  ]);
  assert.equal(calls.length, 6);
});

test('there is no estimate in trouble', () => {
  const one = watch();
  for (let i = 0; i < 6; i += 1) one.answer({ status: 'running', current: i }, i * 1000);
  assert.ok(one.estimate);
  one.become('trouble');
  assert.equal(one.estimate, undefined);
});

const END = { status: 'finished', started: '2026-01-01T00:00:00.000001+00:00', message: 'Done' };

test('a watch ignores every answer about the run whose end was shown', () => {
  const one = watch({ previousEnd: END, patience: 1000 });
  for (const [status, now, state] of [
    [END, 0, 'waiting'],
    [{ ...END, message: 'Done, again' }, 500, 'waiting'],
    [{ ...END, status: 'running' }, 600, 'waiting'],
    [END, 1000, 'unknown'],
    [{ ...END, started: '2026-01-01T00:00:00.000002+00:00' }, 1100, 'finished'],
  ]) {
    one.answer(status, now);
    assert.equal(one.state, state);
  }
});

test('a task that was never initialised has no run, so only the same end is ignored', () => {
  const end = { status: 'finished', current: 10, length: 10, message: null };
  const one = watch({ previousEnd: end });
  one.answer({ ...end }, 0);
  assert.equal(one.state, 'waiting');
  one.answer({ ...end, status: 'running' }, 1);
  assert.equal(one.state, 'running');
  const other = watch({ previousEnd: end });
  other.answer({ ...end, message: 'Done' }, 0);
  assert.equal(other.state, 'finished');
});

test('the final status is the status of a known end', () => {
  const one = watch();
  assert.equal(one.finalStatus, undefined);
  one.answer(END, 0);
  assert.equal(one.finalStatus, END);
  const other = watch({ status: { status: 'running' } });
  other.become('signed-out');
  assert.deepEqual([other.over, other.finalStatus], [true, undefined]);
});
