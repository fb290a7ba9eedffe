/** When the poller sends requests, what it asks for, and how it reacts to errors. */

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { ProgressPoller, poll } from '../../static/poller.js';
import { Stage, all, clear, random, refused } from './support.mjs';

afterEach(clear);

const ids = (count, id = (i) => `task-${i}`) => Array.from({ length: count }, (_, i) => id(i));
const RUNNING = { status: 'running', current: 1, length: 10 };
const json = (value, init) => () => Response.json(value, init);

/** A server with one task at a constant rate, whose worker publishes its position five times a second. */
function evenTask(duration, { start = 0, length = 10_000 } = {}) {
  const done = (now) => Math.min(Math.max((now - start) / duration, 0), 1);
  const answer = (asked, now) => {
    const published = Math.floor(done(Math.floor(now / 200) * 200) * length);
    const finished = now - start >= duration;
    return all(asked, { status: finished ? 'finished' : 'running', current: finished ? length : published, length });
  };
  return { answer, done };
}

// What it asks for

test('an unknown task is polled at once, one that the server rendered a little later', async () => {
  const stage = new Stage();
  stage.watch('known', { status: RUNNING });
  await stage.clock.advance(200);
  assert.equal(stage.requests.length, 0);
  stage.watch('fresh');
  await stage.clock.advance(0);
  assert.deepEqual(stage.requests[0].ids, ['known', 'fresh']);
});

test('one id, several ids, and two bars of one task get their statuses', async () => {
  const stage = new Stage((asked) => all(asked, { status: 'finished', message: asked.length }));
  const one = stage.watch('a');
  await stage.clock.advance(100);
  assert.deepEqual(one.log.at(-1), [20, 'finished', { status: 'finished', message: 1 }]);
  const others = ['a', 'b', 'b', '__proto__'].map((id) => stage.watch(id));
  await stage.clock.advance(1000);
  assert.deepEqual(stage.requests.at(-1).ids, ['a', 'b', '__proto__']);
  for (const watch of others) assert.equal(watch.status.message, 3);
});

for (const [count, id, requests] of [
  [2, undefined, 1],
  [50, undefined, 1],
  [51, undefined, 2],
  [100, undefined, 2],
  [50, (i) => `${i}`.padEnd(255, 'x'), 4],
  [50, (i) => `${i}`.padEnd(255, 'ü'), 25],
]) {
  test(`${count} ids of ${id?.(0).slice(0, 2) ?? 'the usual length'} make ${requests} requests`, async () => {
    const stage = new Stage((asked) => all(asked, { status: 'finished' }));
    const watches = ids(count, id).map((name) => stage.watch(name));
    await stage.clock.advance(100);
    assert.equal(stage.requests.length, requests);
    for (const request of stage.requests) assert.ok(request.ids.length <= 50 && request.url.length <= 4096);
    assert.ok(watches.every(({ state }) => state === 'finished'));
  });
}

test('a status URL may have a query', async () => {
  const stage = new Stage(undefined, 'http://localhost/status?tenant=1');
  stage.watch('a b&c');
  await stage.clock.advance(0);
  assert.equal(stage.requests[0].url, 'http://localhost/status?tenant=1&progress_id=a%20b%26c');
});

test('a poll is sent while a navigation is pending and is never cached', async () => {
  const stage = new Stage();
  stage.watch('a');
  await stage.clock.advance(0);
  const { cache, keepalive, redirect } = stage.requests[0].options;
  assert.deepEqual({ cache, keepalive, redirect }, { cache: 'no-store', keepalive: true, redirect: 'manual' });
});

// When it sends requests

test('a delay postpones the first poll of a task that is not known', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  stage.watch('a', { delay: 250 });
  await stage.clock.advance(10_000);
  assert.equal(stage.requests[0].at, 250);
});

test('a task of one minute takes at most 40 requests, is at most 2 s behind, and its end shows within half a second', async () => {
  const ends = [];
  for (let run = 0; run < 9; run += 1) {
    const task = evenTask(60_000, { start: -run * 37 });
    const stage = new Stage(task.answer);
    stage.random = () => (run % 3) / 2;
    const watch = stage.watch('a', { status: { status: 'running', current: 0, length: 10_000 } });
    let behind = 0;
    while (!watch.over) {
      await stage.clock.advance(50);
      const now = stage.clock.now();
      if (!watch.over) behind = Math.max(behind, task.done(now) - (watch.status.current ?? 0) / 10_000);
    }
    ends.push(watch.log.at(-1)[0] - 60_000 + run * 37);
    assert.ok(stage.requests.length <= 40, `${stage.requests.length} requests`);
    assert.ok(behind * 60_000 <= 2050, `${behind * 60_000} ms behind`);
  }
  const median = ends.sort((a, b) => a - b)[4];
  assert.ok(median <= 500, `the end showed after ${median} ms`);
});

test('the end of a task with few steps shows within half a second', async () => {
  const stage = new Stage(evenTask(40_000, { length: 20 }).answer);
  const watch = stage.watch('a');
  await stage.clock.advance(45_000);
  const [end] = watch.log.at(-1);
  assert.equal(watch.state, 'finished');
  assert.ok(end - 40_000 <= 500 && stage.requests.length <= 45, `${end} ms, ${stage.requests.length} requests`);
});

test('without a rate the interval rises slowly to 2 s', async () => {
  const stage = new Stage((asked) => all(asked, { status: 'running', current: 7 }));
  stage.watch('a');
  await stage.clock.advance(60_000);
  assert.ok(stage.gaps[0] < 600, `${stage.gaps[0]}`);
  assert.ok(stage.gaps.every((gap, i) => i === 0 || gap >= stage.gaps[i - 1] - 100));
  assert.ok(stage.gaps.at(-1) > 1900 && stage.gaps.at(-1) < 2100, `${stage.gaps.at(-1)}`);
});

test('an invalid length gives no expected end', async () => {
  const stage = new Stage((asked, now) => all(asked, { status: 'running', current: now, length: -1 }));
  stage.watch('a');
  await stage.clock.advance(60_000);
  assert.ok(stage.gaps.at(-1) > 1900 && stage.gaps.at(-1) < 2100, `${stage.gaps.at(-1)}`);
});

test('a task that starts late is polled often at first', async () => {
  const stage = new Stage((asked, now) => all(asked, now < 60_000 ? { status: 'pending' } : RUNNING));
  const watch = stage.watch('a');
  while (watch.state !== 'running') await stage.clock.advance(50);
  assert.ok(stage.gaps.at(-1) > 1900);
  await stage.clock.advance(1000);
  assert.ok(stage.gaps.at(-1) < 700, `${stage.gaps.at(-1)}`);
});

test('a first estimate of a long duration does not make the next poll late', async () => {
  const stage = new Stage((asked, now) => all(asked, { status: 'running', current: 1 + (now > 400), length: 10_000 }));
  stage.watch('a');
  await stage.clock.advance(10_000);
  const { gaps } = stage;
  assert.ok(
    gaps.every((gap, i) => i === 0 || gap <= gaps[i - 1] * 1.6),
    `${gaps}`,
  );
});

test('an overdue end is polled for less and less often', async () => {
  const task = evenTask(30_000);
  const stage = new Stage((asked, now) => task.answer(asked, Math.min(now, 29_900)));
  stage.watch('a');
  await stage.clock.advance(30_000);
  const before = stage.requests.length;
  await stage.clock.advance(10_000);
  assert.ok(stage.requests.length - before <= 13, `${stage.requests.length - before}`);
});

for (const [what, duration, options, least, most] of [
  ['half a second and 5 s', 3600_000, {}, 500, 5200],
  ['its own bounds', 3600_000, { min: 2000, max: 3000 }, 2000, 3100],
  ['half a second and 5 s, of a quick task', 3_000, {}, 500, 5200],
]) {
  test(`polls keep between ${what}`, async () => {
    const stage = new Stage(evenTask(duration).answer);
    stage.random = random;
    stage.watch('a', options);
    await stage.clock.advance(120_000);
    assert.ok(Math.min(...stage.gaps) >= least, `${Math.min(...stage.gaps)}`);
    assert.ok(Math.max(...stage.gaps) <= most, `${Math.max(...stage.gaps)}`);
  });
}

test('a hundred bars make at most twice the requests of two', async () => {
  const count = async (bars) => {
    const tasks = new Map(ids(bars).map((id, i) => [id, evenTask(30_000 + (30_000 * i) / (bars - 1))]));
    const stage = new Stage((asked, now) => Object.assign({}, ...asked.map((id) => tasks.get(id).answer([id], now))));
    stage.random = random;
    const watches = ids(bars).map((id) => stage.watch(id));
    await stage.clock.advance(70_000);
    assert.ok(watches.every(({ state }) => state === 'finished'));
    return stage.requests.length;
  };
  const [few, many] = [await count(2), await count(100)];
  assert.ok(many <= 2 * few, `${many} requests against ${few}`);
});

test('pages do not poll at the same moments', async () => {
  const times = [];
  for (const random of [0, 0.5, 0.999]) {
    const stage = new Stage((asked) => all(asked, RUNNING));
    stage.random = () => random;
    stage.watch('a', { status: RUNNING });
    await stage.clock.advance(30_000);
    times.push([stage.requests[0].at, stage.gaps.at(-1)]);
  }
  for (const which of [0, 1]) assert.equal(new Set(times.map((pair) => pair[which])).size, 3);
});

test('a hidden page does not poll, and polls at once when it is visible again', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  stage.watch('a');
  await stage.clock.advance(5000);
  stage.page.turn(true);
  await stage.clock.advance(100);
  const before = stage.requests.length;
  stage.watch('b');
  await stage.clock.advance(600_000);
  assert.equal(stage.requests.length, before);
  stage.page.turn(false);
  await stage.clock.advance(0);
  assert.equal(stage.requests.length, before + 1);
});

test('a page that is hidden from the start polls when it becomes visible', async () => {
  const stage = new Stage((asked) => all(asked, { status: 'finished' }));
  stage.page.hidden = true;
  const watch = stage.watch('a');
  await stage.clock.advance(10_000);
  assert.equal(stage.requests.length, 0);
  stage.page.turn(false);
  await stage.clock.advance(100);
  assert.equal(watch.state, 'finished');
});

for (const end of ['finished', 'failed', 'cancelled']) {
  test(`after ${end} there are no more requests, timers or listeners`, async () => {
    const stage = new Stage((asked, now) => all(asked, now < 3000 ? RUNNING : { ...RUNNING, status: end }));
    const watch = stage.watch('a');
    await stage.clock.advance(10_000);
    const { length } = stage.requests;
    await stage.clock.advance(600_000);
    assert.equal(watch.state, end);
    assert.deepEqual([stage.requests.length, stage.clock.pending, stage.page.listeners], [length, 0, 0]);
    stage.poller.add(watch);
    assert.equal(stage.clock.pending, 0);
  });
}

test('a task that has ended is not asked for with the others', async () => {
  const stage = new Stage((asked) => ({
    a: { status: 'finished' },
    b: RUNNING,
    ...(asked.length < 2 && { b: RUNNING }),
  }));
  stage.watch('a');
  stage.watch('b');
  await stage.clock.advance(3000);
  assert.deepEqual(stage.requests[0].ids, ['a', 'b']);
  assert.deepEqual(stage.requests.at(-1).ids, ['b']);
});

test('a slow server gets a pause between two polls', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  stage.latency = 3000;
  stage.watch('a');
  await stage.clock.advance(60_000);
  assert.ok(Math.min(...stage.gaps) >= 3500, `${Math.min(...stage.gaps)}`);
  stage.latency = 1000;
  await stage.clock.advance(20_000);
  assert.ok(Math.abs(stage.gaps.at(-1) - 2000) < 100, `the interval is from poll to poll: ${stage.gaps.at(-1)}`);
});

// Bars come and go

test('removing the last watch aborts its request, and the watch continues when it is added again', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  const watch = stage.watch('a');
  await stage.clock.advance(1000);
  stage.latency = Infinity;
  await stage.clock.advance(2000);
  const { length } = stage.requests;
  stage.poller.remove(watch);
  assert.equal(stage.requests.at(-1).signal.aborted, true);
  await stage.clock.advance(60_000);
  assert.deepEqual([stage.requests.length, stage.clock.pending, stage.page.listeners], [length, 0, 0]);
  stage.poller.add(watch);
  await stage.clock.advance(1000);
  // The watch is removed and added again during a request, whose answer is then ignored.
  stage.poller.remove(watch);
  stage.answer = (asked) => all(asked, { status: 'finished' });
  stage.latency = 20;
  stage.poller.add(watch);
  await stage.clock.advance(1000);
  assert.deepEqual(
    watch.log.map(([, state]) => state),
    ['running', 'finished'],
  );
  assert.equal(stage.clock.pending, 0);
});

test('a watch that is added during a request is asked for with the next one', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  stage.latency = 800;
  stage.watch('a');
  await stage.clock.advance(100);
  stage.watch('b');
  await stage.clock.advance(1000);
  assert.deepEqual(
    stage.requests.map(({ at, ids: asked }) => [at, asked]),
    [
      [0, ['a']],
      [800, ['a', 'b']],
    ],
  );
});

test('adding and removing watches quickly does not cause more polls', async () => {
  const stage = new Stage();
  for (let i = 0; i < 100; i += 1) {
    const watch = stage.watch('a');
    const holder = stage.watch('b');
    await stage.clock.advance(50);
    stage.poller.remove(watch);
    stage.poller.remove(holder);
  }
  assert.ok(stage.requests.length <= 11, `${stage.requests.length}`);
});

test('a watch that is no longer attached is dropped before the next poll', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  let isAttached = true;
  stage.watch('a', { isAttached: () => isAttached });
  await stage.clock.advance(5000);
  isAttached = false;
  const { length } = stage.requests;
  assert.ok(length > 1);
  await stage.clock.advance(600_000);
  assert.deepEqual([stage.requests.length, stage.clock.pending, stage.page.listeners], [length, 0, 0]);
});

// Tasks that are not known

test('an unknown task is asked for every 30 s, and followed when it appears', async () => {
  const stage = new Stage();
  const watch = stage.watch('a', { patience: 1000 });
  await stage.clock.advance(2000);
  assert.equal(watch.state, 'unknown');
  await stage.clock.advance(120_000);
  const gaps = stage.gaps.slice(-3);
  assert.ok(
    gaps.every((gap) => gap >= 29_000 && gap <= 31_000),
    `${gaps}`,
  );
  stage.answer = (asked) => all(asked, RUNNING);
  await stage.clock.advance(31_000);
  assert.deepEqual([watch.state, watch.status], ['running', RUNNING]);
  await stage.clock.advance(2000);
  assert.ok(stage.gaps.at(-1) < 1000, `${stage.gaps.at(-1)}`);
});

test('an unknown task is left out of the polls for the others, except every 30 s', async () => {
  const stage = new Stage((asked) => ({ a: RUNNING, ...(asked.length === 1 && all(asked, RUNNING)) }));
  stage.answer = (asked) =>
    asked.length > 1 ? { a: RUNNING } : { [asked[0]]: asked[0] === 'a' ? RUNNING : undefined };
  stage.watch('a');
  const unknown = stage.watch('b', { patience: 1000 });
  await stage.clock.advance(5000);
  assert.equal(unknown.state, 'unknown');
  stage.requests.length = 0;
  await stage.clock.advance(300_000);
  const asked = stage.requests.filter(({ ids }) => ids.includes('b')).length;
  assert.ok(asked >= 9 && asked <= 11, `${asked}`);
  assert.ok(stage.requests.length > 100, `${stage.requests.length}`);
});

test('ids that the server refuses are asked for again after 30 s', async () => {
  const stage = new Stage(json({}, { status: 400 }));
  const watch = stage.watch('a');
  await stage.clock.advance(20_000);
  assert.deepEqual([watch.state, stage.requests.length], ['unknown', 1]);
  stage.answer = (asked) => all(asked, RUNNING);
  await stage.clock.advance(11_000);
  assert.equal(watch.state, 'running');
});

// Pages of one account

/** Stages for two pages of one status URL. */
function twoPages(...channels) {
  return channels.map((channel) => {
    const stage = new Stage((asked) => all(asked, RUNNING), 'http://localhost/shared/progress_status');
    stage.page.config = { channel };
    return stage;
  });
}

for (const [channels, state] of [
  [['mary', 'mary'], 'finished'],
  [['mary', 'ann'], 'running'],
  [['mary', undefined], 'running'],
  [[undefined, undefined], 'running'],
]) {
  test(`a hidden page with channel ${channels[0]} is ${state} after the end in one with channel ${channels[1]}`, async () => {
    const [hidden, visible] = twoPages(...channels);
    // Both use the globals of the second page, except that each has its own document while its poller opens.
    globalThis.document = hidden.page;
    hidden.page.hidden = true;
    const waiting = hidden.watch('a', { status: RUNNING });
    globalThis.document = visible.page;
    visible.answer = (asked) => all(asked, { status: 'finished' });
    const polling = visible.watch('a', { status: RUNNING });
    await visible.clock.advance(1000);
    const deadline = Date.now() + 500;
    while (waiting.state !== 'finished' && Date.now() < deadline) await new Promise(setImmediate);
    assert.deepEqual([waiting.state, polling.state], [state, 'finished']);
  });
}

// Errors

const HTML = () => new Response('<!DOCTYPE html><title>Sorry</title>', { headers: { 'Content-Type': 'text/html' } });

for (const [what, answer] of [
  ['a page', HTML],
  ['half a JSON text', () => new Response('{"status": "run')],
  ['a JSON null', json(null)],
  ['a JSON string', json('running')],
  ['404', json({ message: 'Not found' }, { status: 404 })],
  ['500', () => new Response('Oh', { status: 500 })],
  ['503', json({ message: 'Later' }, { status: 503 })],
]) {
  test(`${what} is reported as trouble at once, and the next answer ends it`, async () => {
    const stage = new Stage((asked) => all(asked, RUNNING));
    const watch = stage.watch('a');
    await stage.clock.advance(100);
    stage.answer = answer;
    await stage.clock.advance(1000);
    assert.deepEqual([watch.state, watch.status], ['trouble', RUNNING]);
    stage.answer = (asked) => all(asked, { status: 'finished' });
    await stage.clock.advance(10_000);
    assert.equal(watch.state, 'finished');
  });
}

test('one failed connection is not reported, two are', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  const watch = stage.watch('a');
  await stage.clock.advance(100);
  let lost = 0;
  stage.answer = () => {
    lost += 1;
    refused();
  };
  while (lost < 2) {
    assert.equal(watch.state, 'running');
    await stage.clock.advance(20);
  }
  assert.equal(watch.state, 'trouble');
});

test('a server that never answers is trouble after ten seconds', async () => {
  const stage = new Stage();
  stage.latency = Infinity;
  const watch = stage.watch('a');
  await stage.clock.advance(9_900);
  assert.equal(watch.state, 'waiting');
  await stage.clock.advance(200);
  assert.equal(watch.state, 'trouble');
});

test('a server that is down is polled less and less often, at least every 30 s', async () => {
  const stage = new Stage(refused);
  const watch = stage.watch('a');
  await stage.clock.advance(300_000);
  assert.ok(stage.gaps[0] <= 1100, `${stage.gaps[0]}`);
  assert.ok(stage.gaps.every((gap, i) => i === 0 || gap >= stage.gaps[i - 1]));
  assert.ok(stage.gaps.at(-1) > 15_000 && stage.gaps.at(-1) <= 30_020, `${stage.gaps.at(-1)}`);
  stage.answer = (asked) => all(asked, RUNNING);
  await stage.clock.advance(35_000);
  assert.equal(watch.state, 'running');
  assert.ok(stage.gaps.at(-1) < 2100, 'the usual interval afterwards');
  stage.answer = refused;
  const before = stage.requests.length;
  await stage.clock.advance(5000);
  assert.ok(stage.requests.length >= before + 2, 'the delay starts again at the next failure');
});

for (const [value, wait] of [
  ['7', 7000],
  ['Thu, 01 Jan 2026 00:00:09 GMT', 9000],
  ['soon', 0],
  ['-3', 0],
]) {
  test(`Retry-After: ${value}`, async () => {
    const headers = { 'Retry-After': value, Date: 'Thu, 01 Jan 2026 00:00:00 GMT' };
    const stage = new Stage(json({}, { status: 503, headers }));
    stage.watch('a');
    await stage.clock.advance(100);
    // Neither a page that becomes visible nor a new watch makes the wait shorter.
    stage.page.turn(true);
    await stage.clock.advance(1000);
    stage.page.turn(false);
    stage.watch('b');
    await stage.clock.advance(20_000);
    const [gap] = stage.gaps;
    assert.ok(gap >= Math.max(wait, 1000) && gap <= Math.max(wait * 1.11, 1200), `${gap}`);
  });
}

test('a Retry-After may be longer than a timer can hold', async () => {
  const stage = new Stage(json({}, { status: 503, headers: { 'Retry-After': `${90 * 86_400}` } }));
  stage.watch('a');
  await stage.clock.advance(10 * 86_400_000);
  assert.equal(stage.requests.length, 1);
});

/** What fetch returns for a redirect that it does not follow; the constructor of Response cannot make that. */
const redirect = () =>
  Object.create(Response.prototype, { status: { value: 0 }, ok: { value: false }, headers: { value: new Headers() } });

for (const [what, answer, state] of [
  ['401', json({}, { status: 401 }), 'signed-out'],
  ['403', json({}, { status: 403 }), 'forbidden'],
  ['a redirect', redirect, 'signed-out'],
]) {
  test(`${what} ends the polls and is reported`, async () => {
    const stage = new Stage((asked) => all(asked, RUNNING));
    const watches = ['a', 'b'].map((id) => stage.watch(id));
    await stage.clock.advance(1000);
    stage.answer = answer;
    await stage.clock.advance(5000);
    const { length } = stage.requests;
    await stage.clock.advance(600_000);
    for (const watch of watches) assert.deepEqual([watch.state, watch.status], [state, RUNNING]);
    assert.deepEqual([stage.requests.length, stage.clock.pending], [length, 0]);
  });
}

test('an invalid id is not asked for and does not affect the others', async () => {
  const bad = ['', 'a\nb', '\x7f', 'x'.repeat(256), '\ud800'];
  const good = ['ü'.repeat(255), '😀'.repeat(255), ' ', '../a'];
  const stage = new Stage((asked) => all(asked, RUNNING));
  const watches = [...bad, ...good].map((id) => stage.watch(id));
  await stage.clock.advance(1000);
  for (const watch of watches) assert.equal(watch.state, bad.includes(watch.id) ? 'unknown' : 'running', watch.id);
  assert.deepEqual(new Set(stage.requests.flatMap(({ ids }) => ids)), new Set(good));
});

test('ids that the server refuses are unknown', async () => {
  const stage = new Stage(json({}, { status: 400 }));
  const watches = ['a', 'b'].map((id) => stage.watch(id));
  await stage.clock.advance(1000);
  assert.deepEqual(
    watches.map(({ state }) => state),
    ['unknown', 'unknown'],
  );
});

test('a batch that fails does not affect the others', async () => {
  const stage = new Stage((asked) => (asked.includes('task-0') ? HTML() : all(asked, RUNNING)));
  const watches = ids(100).map((id) => stage.watch(id));
  await stage.clock.advance(100);
  assert.deepEqual(
    watches.map(({ state }) => state === 'trouble'),
    ids(100).map((_, i) => i < 50),
  );
});

test('an id that the answer does not contain is unknown', async () => {
  const stage = new Stage(() => ({ a: RUNNING, b: 'rubbish' }));
  const watches = ['a', 'b', 'c', 'toString'].map((id) => stage.watch(id, { patience: 1000 }));
  await stage.clock.advance(5000);
  assert.deepEqual(
    watches.map(({ state }) => state),
    ['running', 'unknown', 'unknown', 'unknown'],
  );
});

// The function for pages that draw the progress themselves

test('poll() follows a task until its result is called', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  const seen = [];
  const stop = poll(stage.url, 'a', (...args) => seen.push(args));
  await stage.clock.advance(100);
  stop();
  await stage.clock.advance(10_000);
  assert.deepEqual([seen, stage.requests.length, stage.clock.pending], [[[RUNNING, 'running', undefined]], 1, 0]);
});

test('a URL has one poller as long as that has watches', () => {
  const { url } = new Stage();
  const stops = ['a', 'b'].map((id) => poll(url, id, () => {}));
  const shared = ProgressPoller.of(url);
  assert.equal(ProgressPoller.of(url.replace('http://localhost', '')), shared);
  for (const stop of stops) stop();
  assert.notEqual(ProgressPoller.of(url), shared);
});
