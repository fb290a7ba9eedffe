/** When the poller asks, what it asks for, and what it does about answers that are none. */

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { ProgressPoller, poll } from '../../static/poller.js';
import { Stage, all, clear, random, refused } from './support.mjs';

afterEach(clear);

const ids = (count, id = (i) => `task-${i}`) => Array.from({ length: count }, (_, i) => id(i));
const RUNNING = { status: 'running', current: 1, length: 10 };
const json = (value, init) => () => Response.json(value, init);

/** A server with one task, at an even pace; a worker tells it of its position five times a second. */
function evenTask(duration, { start = 0, length = 10_000 } = {}) {
  const done = (now) => Math.min(Math.max((now - start) / duration, 0), 1);
  const answer = (asked, now) => {
    const told = Math.floor(done(Math.floor(now / 200) * 200) * length);
    const finished = now - start >= duration;
    return all(asked, { status: finished ? 'finished' : 'running', current: finished ? length : told, length });
  };
  return { answer, done };
}

// What it asks for

test('what is unknown is asked for at once, what the server rendered a little later', async () => {
  const stage = new Stage();
  stage.watch('known', { status: RUNNING });
  await stage.clock.advance(200);
  assert.equal(stage.requests.length, 0);
  stage.watch('fresh');
  await stage.clock.advance(0);
  assert.deepEqual(stage.requests[0].ids, ['known', 'fresh']);
});

test('one id gets its status, several get theirs, two bars of a task share one', async () => {
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

test('a status URL may have a query of its own', async () => {
  const stage = new Stage(undefined, 'http://localhost/status?tenant=1');
  stage.watch('a b&c');
  await stage.clock.advance(0);
  assert.equal(stage.requests[0].url, 'http://localhost/status?tenant=1&progress_id=a%20b%26c');
});

// When it asks

test('a minute is followed within 40 requests, 2 s behind at most, and its end within half a second', async () => {
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

test('a task in few steps is no worse: its end shows within half a second', async () => {
  const stage = new Stage(evenTask(40_000, { length: 20 }).answer);
  const watch = stage.watch('a');
  await stage.clock.advance(45_000);
  const [end] = watch.log.at(-1);
  assert.equal(watch.state, 'finished');
  assert.ok(end - 40_000 <= 500 && stage.requests.length <= 45, `${end} ms, ${stage.requests.length} requests`);
});

test('where nothing can be expected the interval rises slowly to 2 s', async () => {
  const stage = new Stage((asked) => all(asked, { status: 'running', current: 7 }));
  stage.watch('a');
  await stage.clock.advance(60_000);
  assert.ok(stage.gaps[0] < 600, `${stage.gaps[0]}`);
  assert.ok(stage.gaps.every((gap, i) => i === 0 || gap >= stage.gaps[i - 1] - 100));
  assert.ok(stage.gaps.at(-1) > 1900 && stage.gaps.at(-1) < 2100, `${stage.gaps.at(-1)}`);
});

test('a length that is none is nothing to expect anything from', async () => {
  const stage = new Stage((asked, now) => all(asked, { status: 'running', current: now, length: -1 }));
  stage.watch('a');
  await stage.clock.advance(60_000);
  assert.ok(stage.gaps.at(-1) > 1900 && stage.gaps.at(-1) < 2100, `${stage.gaps.at(-1)}`);
});

test('a task that starts late is followed closely at first', async () => {
  const stage = new Stage((asked, now) => all(asked, now < 60_000 ? { status: 'pending' } : RUNNING));
  const watch = stage.watch('a');
  while (watch.state !== 'running') await stage.clock.advance(50);
  assert.ok(stage.gaps.at(-1) > 1900);
  await stage.clock.advance(1000);
  assert.ok(stage.gaps.at(-1) < 700, `${stage.gaps.at(-1)}`);
});

test('a first guess of a long way does not make the next poll late', async () => {
  const stage = new Stage((asked, now) => all(asked, { status: 'running', current: 1 + (now > 400), length: 10_000 }));
  stage.watch('a');
  await stage.clock.advance(10_000);
  const { gaps } = stage;
  assert.ok(gaps.every((gap, i) => i === 0 || gap <= gaps[i - 1] * 1.6), `${gaps}`);
});

test('an end that does not come is looked for less and less', async () => {
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
    const stage = new Stage((asked, now) =>
      Object.assign({}, ...asked.map((id) => tasks.get(id).answer([id], now))),
    );
    stage.random = random;
    const watches = ids(bars).map((id) => stage.watch(id));
    await stage.clock.advance(70_000);
    assert.ok(watches.every(({ state }) => state === 'finished'));
    return stage.requests.length;
  };
  const [few, many] = [await count(2), await count(100)];
  assert.ok(many <= 2 * few, `${many} requests against ${few}`);
});

test('pages do not march in step', async () => {
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

test('a hidden page asks nothing, and at once when it comes back', async () => {
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

test('a page that is hidden from the start asks when it is first seen', async () => {
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
  test(`after ${end} nothing is asked, and nothing is left behind`, async () => {
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

test('one bar that has ended is not asked for with the others', async () => {
  const stage = new Stage((asked) => ({ a: { status: 'finished' }, b: RUNNING, ...(asked.length < 2 && { b: RUNNING }) }));
  stage.watch('a');
  stage.watch('b');
  await stage.clock.advance(3000);
  assert.deepEqual(stage.requests[0].ids, ['a', 'b']);
  assert.deepEqual(stage.requests.at(-1).ids, ['b']);
});

test('a slow server is left alone for a while between two polls', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  stage.latency = 3000;
  stage.watch('a');
  await stage.clock.advance(60_000);
  assert.ok(Math.min(...stage.gaps) >= 3500, `${Math.min(...stage.gaps)}`);
  stage.latency = 1000;
  await stage.clock.advance(20_000);
  assert.ok(Math.abs(stage.gaps.at(-1) - 2000) < 100, `from poll to poll, not in between: ${stage.gaps.at(-1)}`);
});

// Bars come and go

test('a bar that leaves takes the request under way along, and its watch goes on where it was', async () => {
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
  // Gone and back in the middle of a request: what becomes of that one is nobody's business.
  stage.poller.remove(watch);
  stage.answer = (asked) => all(asked, { status: 'finished' });
  stage.latency = 20;
  stage.poller.add(watch);
  await stage.clock.advance(1000);
  assert.deepEqual(watch.log.map(([, state]) => state), ['running', 'finished']);
  assert.equal(stage.clock.pending, 0);
});

test('a bar that comes during a request is asked for with the next one, soon', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  stage.latency = 800;
  stage.watch('a');
  await stage.clock.advance(100);
  stage.watch('b');
  await stage.clock.advance(1000);
  assert.deepEqual(stage.requests.map(({ at, ids: asked }) => [at, asked]), [
    [0, ['a']],
    [800, ['a', 'b']],
  ]);
});

test('bars that come and go at a quick rate do not make more polls', async () => {
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

// Answers that are none

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
  test(`${what} is trouble, told at once, and heals`, async () => {
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

test('one request that is lost is no news, two are', async () => {
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

test('a server that is down is asked more and more seldom, up to every half minute', async () => {
  const stage = new Stage(refused);
  const watch = stage.watch('a');
  await stage.clock.advance(300_000);
  assert.ok(stage.gaps[0] <= 1100, `${stage.gaps[0]}`);
  assert.ok(stage.gaps.every((gap, i) => i === 0 || gap >= stage.gaps[i - 1]));
  assert.ok(stage.gaps.at(-1) > 15_000 && stage.gaps.at(-1) <= 30_020, `${stage.gaps.at(-1)}`);
  stage.answer = (asked) => all(asked, RUNNING);
  await stage.clock.advance(35_000);
  assert.equal(watch.state, 'running');
  assert.ok(stage.gaps.at(-1) < 2100, 'and after that as ever');
  stage.answer = refused;
  const before = stage.requests.length;
  await stage.clock.advance(5000);
  assert.ok(stage.requests.length >= before + 2, 'and the next trouble starts anew');
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
    // Neither a page that comes back nor a new bar hurries it.
    stage.page.turn(true);
    await stage.clock.advance(1000);
    stage.page.turn(false);
    stage.watch('b');
    await stage.clock.advance(20_000);
    const [gap] = stage.gaps;
    assert.ok(gap >= Math.max(wait, 1000) && gap <= Math.max(wait * 1.11, 1200), `${gap}`);
  });
}

test('a server may ask for more than a timer can hold', async () => {
  const stage = new Stage(json({}, { status: 503, headers: { 'Retry-After': `${90 * 86_400}` } }));
  stage.watch('a');
  await stage.clock.advance(10 * 86_400_000);
  assert.equal(stage.requests.length, 1);
});

/** What fetch gives for a redirect that it does not follow; a Response cannot be made that way. */
const redirect = () => Object.create(Response.prototype, { status: { value: 0 }, ok: { value: false } });

for (const [what, answer, state] of [
  ['401', json({}, { status: 401 }), 'signed-out'],
  ['403', json({}, { status: 403 }), 'forbidden'],
  ['a redirect', redirect, 'signed-out'],
]) {
  test(`${what} ends it, and says so`, async () => {
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

test('what is no id is not asked for, and does not take the others along', async () => {
  const bad = ['', 'a\nb', '\x7f', 'x'.repeat(256), '\ud800'];
  const good = ['ü'.repeat(255), '😀'.repeat(255), ' ', '../a'];
  const stage = new Stage((asked) => all(asked, RUNNING));
  const watches = [...bad, ...good].map((id) => stage.watch(id));
  await stage.clock.advance(1000);
  for (const watch of watches) assert.equal(watch.state, bad.includes(watch.id) ? 'unknown' : 'running', watch.id);
  assert.deepEqual(new Set(stage.requests.flatMap(({ ids }) => ids)), new Set(good));
});

test('a server that finds fault with the ids makes them unknown', async () => {
  const stage = new Stage(json({}, { status: 400 }));
  const watches = ['a', 'b'].map((id) => stage.watch(id));
  await stage.clock.advance(1000);
  assert.deepEqual(watches.map(({ state }) => state), ['unknown', 'unknown']);
});

test('a batch that fails does not take the others along', async () => {
  const stage = new Stage((asked) => (asked.includes('task-0') ? HTML() : all(asked, RUNNING)));
  const watches = ids(100).map((id) => stage.watch(id));
  await stage.clock.advance(100);
  assert.deepEqual(watches.map(({ state }) => state === 'trouble'), ids(100).map((_, i) => i < 50));
});

test('what an answer leaves out is unknown', async () => {
  const stage = new Stage(() => ({ a: RUNNING, b: 'rubbish' }));
  const watches = ['a', 'b', 'c', 'toString'].map((id) => stage.watch(id, { patience: 1000 }));
  await stage.clock.advance(5000);
  assert.deepEqual(watches.map(({ state }) => state), ['running', 'unknown', 'unknown', 'unknown']);
});

// The function for pages with a picture of their own

test('poll() follows a task, and stops when told', async () => {
  const stage = new Stage((asked) => all(asked, RUNNING));
  const seen = [];
  const stop = poll(stage.url, 'a', (...told) => seen.push(told));
  await stage.clock.advance(100);
  stop();
  await stage.clock.advance(10_000);
  assert.deepEqual([seen, stage.requests.length, stage.clock.pending], [[[RUNNING, 'running', undefined]], 1, 0]);
});

test('a URL has one poller, as long as that has something to do', () => {
  const { url } = new Stage();
  const stops = ['a', 'b'].map((id) => poll(url, id, () => {}));
  const shared = ProgressPoller.of(url);
  assert.equal(ProgressPoller.of(url.replace('http://localhost', '')), shared);
  for (const stop of stops) stop();
  assert.notEqual(ProgressPoller.of(url), shared);
});
