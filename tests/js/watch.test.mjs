/** What a bar makes of the answers it gets. */

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

test('what has finished is complete, whatever was counted', () => {
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

test('a task unknown from the start is waited for, as long as patience lasts', () => {
  const one = watch({ patience: 1000 });
  for (const [now, state] of [
    [500, 'waiting'],
    [1499, 'waiting'],
    [1500, 'unknown'],
  ]) {
    one.answer({ status: 'unknown' }, now);
    assert.equal(one.state, state);
  }
  assert.equal(one.over, true);
});

test('a task that was late is waited for no more', () => {
  const one = watch({ patience: 1000 });
  one.answer({ status: 'unknown' }, 0);
  one.answer({ status: 'pending' }, 500);
  one.answer({ status: 'unknown' }, 5000);
  assert.equal(one.state, 'waiting');
});

for (const end of ['finished', 'failed', 'cancelled']) {
  test(`a task that has ${end} never goes back`, () => {
    const one = watch();
    one.answer({ status: end, message: 'the end' }, 0);
    one.answer({ status: 'running', length: 10 }, 1);
    one.become('trouble');
    assert.deepEqual([one.state, one.status], [end, { status: end, message: 'the end' }]);
  });
}

test('trouble keeps the last status, and goes away with the next answer', () => {
  const status = { status: 'running', current: 5, length: 10 };
  const one = watch({ status });
  one.become('trouble');
  assert.deepEqual([one.state, one.status, one.over], ['trouble', status, false]);
  one.answer({ ...status }, 1);
  assert.equal(one.state, 'running');
});

test('the listener hears of changes alone', async () => {
  const heard = [];
  const one = new Watch('t', ({ status }) => heard.push(status.current));
  for (const current of [1, 1, 2, 2, 2, 3]) {
    one.answer({ status: 'running', current, length: 3 }, current);
    await null;
  }
  assert.deepEqual(heard, [1, 2, 3]);
});

test('the end is expected from the pace', () => {
  const one = watch();
  assert.equal(one.end, Infinity);
  for (let at = 0; at <= 3000; at += 1000) one.answer({ status: 'running', current: at / 100, length: 100 }, at);
  assert.equal(one.end, 10_000);
  one.answer({ status: 'running', current: 10, length: 100 }, 4000);
  assert.equal(one.end, Infinity, 'it went back: all is open');
});

test('nothing is expected of a task that stands still', () => {
  const one = watch();
  for (let at = 0; at <= 2000; at += 1000) one.answer({ status: 'running', current: at, length: 9000 }, at);
  one.answer({ status: 'running', current: 2000, length: 9000 }, 4000);
  assert.equal(one.end, 9000);
  one.answer({ status: 'running', current: 2000, length: 9000 }, 4001);
  assert.equal(one.end, Infinity);
});

/** Let a task be seen once a second at these positions; return what may be told of its pace each time. */
function estimates(positions, length = 100) {
  const one = watch();
  return positions.map((current, i) => {
    one.answer({ status: 'running', current, length }, i * 1000);
    return one.estimate;
  });
}

test('a steady pace is told after five sights of it', () => {
  assert.deepEqual(estimates([0, 10, 20, 30, 40, 50]), [
    undefined,
    undefined,
    undefined,
    undefined,
    { rate: 0.01, left: 6000 },
    { rate: 0.01, left: 5000 },
  ]);
});

test('a pace that changes is not told', () => {
  assert.equal(estimates([0, 10, 20, 21, 22]).at(-1), undefined, 'slower');
  assert.equal(estimates([0, 1, 2, 12, 22]).at(-1), undefined, 'faster');
  assert.ok(estimates([0, 10, 20, 27, 34]).at(-1), 'a little slower is as good as steady');
});

test('a pace is told no more once nothing moves', () => {
  const told = estimates([0, 10, 20, 30, 40, 40, 40, 40, 40, 40]);
  assert.ok(told[8]);
  assert.equal(told[9], undefined);
});

test('a pace that has got there, or whose end goes away, is not told', () => {
  const last = (positions, length) => estimates(positions, length).at(-1);
  assert.equal(last([20, 40, 60, 80, 100, 100], 100), undefined, 'all is done, but it goes on');
  assert.equal(last([15, 35, 55, 75, 95, 95, 95], 100), undefined, 'overdue');
  assert.equal(last([0, 10, 20, 30, 40], -1), undefined, 'no such length');
  const one = watch();
  for (let i = 0; i < 9; i += 1) {
    one.answer({ status: 'running', current: i * 10, length: i * 10 + 50 }, i * 1000);
    assert.equal(one.estimate, undefined, 'the length grows as well');
  }
});

test('a pace without a length has no end', () => {
  assert.deepEqual(estimates([0, 10, 20, 30, 40], null).at(-1), { rate: 0.01, left: Infinity });
});

test('the listener hears when the pace can be told, and when not any more', async () => {
  const heard = [];
  const one = new Watch('t', ({ status, estimate }) => heard.push([status.current, estimate?.rate]));
  for (const [i, current] of [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4].entries()) {
    one.answer({ status: 'running', current }, i * 1000);
    await null;
  }
  assert.deepEqual(heard.slice(-2), [
    [4, 0.001],
    [4, undefined],
  ]);
  assert.equal(heard.length, 6);
});

test('in trouble no pace is told', () => {
  const one = watch();
  for (let i = 0; i < 6; i += 1) one.answer({ status: 'running', current: i }, i * 1000);
  assert.ok(one.estimate);
  one.become('trouble');
  assert.equal(one.estimate, undefined);
});
