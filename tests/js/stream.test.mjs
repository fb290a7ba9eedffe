/** Which tasks are followed by a stream, what it says of them, and when the poller polls instead. */

import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';

import { ProgressPoller, Watch, poll } from '../../static/poller.js';
import { EventParser } from '../../static/stream.js';
import { Stage, all, clear, random, refused } from './support.mjs';

afterEach(clear);

const RUNNING = { status: 'running', current: 1, length: 10 };
const FINISHED = { status: 'finished', current: 10, length: 10 };
const at = (current) => ({ ...RUNNING, current });

describe('the parser', () => {
  const parse = (...pieces) => {
    const parser = new EventParser();
    return pieces.flatMap((piece) => parser.push(piece));
  };

  const TEXT =
    ': hello\n\ndata: 1\n\nevent: trouble\ndata: two\ndata:  lines\nid: 7\nretry: 1\n\n\ndata\n\nevent: no\n\ndata: 3\n\n';
  const EVENTS = [
    { type: '', data: '1' },
    { type: 'trouble', data: 'two\n lines' },
    { type: '', data: '' },
    { type: '', data: '3' },
  ];

  for (const [name, end] of Object.entries({ LF: '\n', CR: '\r', CRLF: '\r\n' })) {
    test(`lines that end with ${name}, in pieces of any length`, () => {
      const text = TEXT.replaceAll('\n', end);
      assert.deepEqual(parse(text), EVENTS);
      assert.deepEqual(parse(...text), EVENTS, 'one character each');
      for (let i = 0; i <= text.length; i += 1)
        assert.deepEqual(parse(text.slice(0, i), '', text.slice(i)), EVENTS, `${i}`);
    });
  }

  test('an event without its empty line is not complete', () => {
    assert.deepEqual(parse('data: 1\n'), []);
    assert.deepEqual(parse('data: 1\n', 'data: 2', '\n\n'), [{ type: '', data: '1\n2' }]);
  });

  test('only CR and LF end a line', () => {
    assert.deepEqual(parse('data: 1\u2028\u0085\n\n'), [{ type: '', data: '1\u2028\u0085' }]);
  });

  test('what is not a field is ignored', () => {
    assert.deepEqual(parse('<!DOCTYPE html>\n<p>data: 1\n\ndatab: 2\n DATA: 3\n\n'), []);
  });

  for (const [what, piece] of [
    ['one line', 'x'.repeat(1000)],
    ['many lines', `data: ${'x'.repeat(1000)}\n`],
  ]) {
    test(`an event of ${what} that is too long is an error`, () => {
      const parser = new EventParser();
      let length = 0;
      assert.throws(() => {
        for (; length < 2 ** 22; length += piece.length) parser.push(piece);
      }, RangeError);
      assert.ok(length > 2 ** 19, `${length}`);
    });
  }
});

/** A stage whose page has streams, and a function that lets some ms pass. */
function streaming(answer = (ids) => all(ids, RUNNING), config = {}) {
  const stage = new Stage(answer);
  stage.page.config = { src: stage.url, events: stage.events, channel: 'mary', ...config };
  return stage;
}

/** Lets some ms pass. Modules are loaded outside the clock. */
async function pass(stage, ms = 0) {
  for (let i = 0; i < 5; i += 1) await new Promise(setImmediate);
  await stage.clock.advance(ms);
}

/** A stage whose stream has sent the status of one task. */
async function following(options = { status: RUNNING }) {
  const stage = streaming();
  const watch = stage.watch('a', options);
  await pass(stage, 10);
  stage.streams[0].stream.send({ a: at(2) });
  await pass(stage);
  return { stage, watch, stream: stage.streams[0].stream };
}

/** Sends what keeps a stream open, for some ms. */
async function idle(stage, ms, stream = stage.streams.at(-1).stream) {
  for (let passed = 0; passed < ms; passed += 3000) {
    stream.send(':\n\n');
    await pass(stage, Math.min(3000, ms - passed));
  }
}

describe('a stream', () => {
  test('follows a task of one minute with no poll, except for the one that acknowledges the end', async () => {
    const stage = streaming((ids) => all(ids, FINISHED));
    const watch = stage.watch('a', { status: at(0) });
    await pass(stage, 30);
    const [{ ids, url, options, stream }] = stage.streams;
    assert.deepEqual(ids, ['a']);
    assert.ok(url.startsWith(`${stage.events}?progress_id=a`));
    const { cache, credentials, redirect, headers } = options;
    assert.deepEqual([cache, credentials, redirect], ['no-store', 'include', 'manual']);
    assert.deepEqual(headers, { Accept: 'text/event-stream' });
    for (let current = 0; current < 300; current += 1) {
      stream.send({ a: { ...RUNNING, current, length: 300 } });
      await pass(stage, 200);
      assert.equal(watch.status.current, current);
    }
    assert.ok(Math.abs(watch.estimate.rate - 0.005) < 0.0005 && watch.estimate.left < 2500, 'the time left is exact');
    assert.deepEqual([stage.requests.length, stage.streams.length], [0, 1]);
    stream.send({ a: FINISHED });
    await pass(stage);
    assert.deepEqual([watch.state, watch.status], ['finished', FINISHED]);
    await pass(stage, 60_000);
    assert.deepEqual([stage.requests.length, stage.streams.length], [1, 1]);
    assert.equal(stage.requests[0].options.keepalive, true);
    assert.deepEqual([stage.clock.pending, stage.page.listeners, stage.locks.held.size], [0, 0, 0]);
    assert.equal(stage.streams[0].signal.aborted, true);
  });

  test('of several tasks that end at once acknowledges them with one poll', async () => {
    const stage = streaming();
    for (const id of ['a', 'b', 'c']) stage.watch(id, { status: RUNNING });
    await pass(stage, 10);
    const events = ['a', 'b'].map((id) => `data: ${JSON.stringify({ id, ...FINISHED })}\n\n`);
    stage.streams.at(-1).stream.send(events.join(''));
    await pass(stage, 10);
    assert.deepEqual(
      stage.requests.map(({ ids }) => ids),
      [['a', 'b']],
    );
  });

  test('is used by poll(), too', async () => {
    const stage = streaming();
    const seen = [];
    const stop = poll(stage.url, 'a', (...args) => seen.push(args));
    await pass(stage, 10);
    stage.streams[0].stream.send({ a: RUNNING });
    await pass(stage, 5000);
    stop();
    await pass(stage, 5000);
    assert.deepEqual(seen, [[RUNNING, 'running', undefined]]);
    assert.deepEqual([stage.requests.length, stage.clock.pending, stage.locks.held.size], [0, 0, 0]);
  });

  test('may be split in the middle of a character', async () => {
    const { stage, watch, stream } = await following();
    const text = `data: ${JSON.stringify({ id: 'a', ...RUNNING, message: 'Größe 😀' })}\r\n\r\n`;
    for (const byte of new TextEncoder().encode(text)) stream.sendBytes(Uint8Array.of(byte));
    await pass(stage);
    assert.equal(watch.status.message, 'Größe 😀');
  });

  test('reports trouble, and goes on', async () => {
    const { stage, watch, stream } = await following();
    stream.send('event: trouble\ndata: {"message": "The store does not answer"}\n\n');
    await pass(stage);
    assert.deepEqual([watch.state, watch.status], ['trouble', at(2)]);
    await idle(stage, 9000);
    assert.equal(watch.state, 'trouble');
    stream.send({ a: at(3) });
    await pass(stage);
    assert.deepEqual([watch.state, stage.requests.length], ['running', 0]);
  });

  test('that only reports trouble is a stream', async () => {
    const stage = streaming();
    const watch = stage.watch('a', { status: RUNNING });
    await pass(stage, 10);
    stage.streams[0].stream.send('event: trouble\ndata: {}\n\n');
    await idle(stage, 9000);
    assert.deepEqual([watch.state, stage.requests.length], ['trouble', 0]);
  });

  test('that says nothing of a task does not follow it', async () => {
    const stage = streaming();
    const [, other] = ['a', 'b'].map((id) => stage.watch(id, { status: RUNNING }));
    await pass(stage, 10);
    stage.streams[0].stream.send({ a: at(2), c: at(3) });
    await pass(stage, 5000);
    assert.deepEqual(stage.requests[0].ids, ['b']);
    assert.deepEqual([other.state, stage.requests.every(({ ids }) => ids.length === 1)], ['running', true]);
  });

  test('a task that it does not know any more is lost in 10 s', async () => {
    const { stage, watch, stream } = await following();
    stream.send({ a: { status: 'unknown' } });
    await pass(stage, 3000);
    await idle(stage, 3000);
    assert.equal(watch.state, 'running');
    await idle(stage, 3000);
    assert.deepEqual([watch.state, stage.requests.length, stage.clock.pending], ['lost', 0, 0]);
  });

  test('a task that it does not know is unknown after the patience, and then polled every 30 s', async () => {
    const stage = streaming(() => ({}));
    const watch = stage.watch('a');
    await pass(stage, 10);
    const [{ stream }] = stage.streams;
    stream.send({ a: { status: 'unknown' } });
    await idle(stage, 27_000);
    assert.equal(watch.state, 'waiting');
    await idle(stage, 9000);
    assert.equal(watch.state, 'unknown');
    await idle(stage, 24_000);
    stream.end();
    await pass(stage, 120_000);
    assert.equal(stage.streams.length, 1);
    assert.ok(stage.requests.length >= 4 && stage.requests.length <= 5, `${stage.requests.length}`);
    stage.answer = (ids) => all(ids, RUNNING);
    await pass(stage, 45_000);
    assert.equal(watch.state, 'running');
    assert.ok(stage.streams.length > 1, 'it is followed by a stream again');
  });

  test('a task that stands still has no estimate any more', async () => {
    const { stage, watch, stream } = await following();
    for (let current = 3; current < 40; current += 1) {
      stream.send({ a: { ...RUNNING, current, length: 100 } });
      await pass(stage, 200);
    }
    assert.ok(watch.estimate);
    await idle(stage, 9000);
    assert.equal(watch.estimate, undefined);
  });
});

describe('the polls', () => {
  test('start after a second without a status, and end with the first one', async () => {
    const stage = streaming();
    stage.watch('a');
    await pass(stage, 900);
    assert.equal(stage.requests.length, 0);
    await pass(stage, 200);
    assert.equal(stage.requests.length, 1);
    await pass(stage, 2000);
    const { length } = stage.requests;
    assert.ok(length > 2);
    stage.streams[0].stream.send({ a: RUNNING });
    await idle(stage, 30_000);
    assert.deepEqual([stage.requests.length, stage.streams.length], [length, 1]);
  });

  test('go on if the server never answers the request for a stream, until one does', async () => {
    const stage = streaming();
    stage.refuse = () => new Promise(() => {});
    stage.watch('a');
    await pass(stage, 9900);
    assert.deepEqual([stage.streams.length, stage.streams[0].signal.aborted], [1, false]);
    await pass(stage, 11_000);
    assert.deepEqual([stage.streams.length, stage.streams[0].signal.aborted], [2, true]);
    assert.ok(stage.requests.length > 10);
  });

  for (const [what, breakIt, least] of [
    ['ends', ({ stream }) => stream.end(), 0],
    ['is cut', ({ stream }) => stream.cut(), 0],
    ['sends what is no JSON', ({ stream }) => stream.send('data: {"id": "a"\n\n'), 0],
    ['sends nothing', () => {}, 6900],
  ]) {
    test(`go on within a second after a stream ${what}, until the next one`, async () => {
      const { stage, watch, ...rest } = await following();
      await idle(stage, 6000);
      breakIt(rest);
      await pass(stage, least);
      assert.equal(stage.requests.length, 0);
      await pass(stage, 1100);
      assert.equal(stage.requests.length, 1);
      assert.equal(stage.locks.held.size, 0);
      await pass(stage, 10_000);
      assert.equal(stage.streams.length, 2);
      stage.streams[1].stream.send({ a: at(5) });
      await pass(stage);
      const { length } = stage.requests;
      await idle(stage, 9000);
      assert.deepEqual([watch.status, stage.requests.length], [at(5), length]);
    });
  }

  for (const [what, refuse] of [
    ['401', () => Response.json({}, { status: 401 })],
    ['500', () => new Response('', { status: 500 })],
    ['204', () => new Response(null, { status: 204 })],
    ['no connection', refused],
    ['a page', () => new Response('<!DOCTYPE html><title>Welcome</title>')],
  ]) {
    test(`take the place of a stream that is answered by ${what}`, async () => {
      const stage = streaming();
      stage.refuse = refuse;
      const watch = stage.watch('a');
      await pass(stage, 1100);
      assert.deepEqual([watch.state, stage.requests[0].at], ['running', 1000]);
      assert.equal(stage.streams.length, 1);
      await pass(stage, 120_000);
      const gaps = stage.streams.slice(1).map((request, i) => request.at - stage.streams[i].at);
      // Each gap may be twice as long as the one before.
      assert.ok(gaps.length >= 2 && gaps.length <= 6, `${gaps}`);
      assert.ok(
        gaps.every((gap, i) => gap <= 20_000 * 2 ** i + 1000),
        `${gaps}`,
      );
      assert.ok(Math.max(...stage.gaps) < 2200, 'an attempt does not delay the polls');
    });
  }

  for (const [value, wait] of [
    ['17', 17_000],
    ['Thu, 01 Jan 2026 00:00:19 GMT', 19_000],
  ]) {
    test(`Retry-After: ${value} is the time until the next stream`, async () => {
      const stage = streaming();
      const headers = { 'Retry-After': value, Date: 'Thu, 01 Jan 2026 00:00:00 GMT' };
      stage.refuse = () => Response.json({}, { status: 503, headers });
      stage.watch('a', { status: RUNNING });
      await pass(stage, 5000);
      // A page that becomes visible does not make it shorter.
      stage.page.turn(true);
      stage.page.turn(false);
      await pass(stage, 25_000);
      assert.ok(stage.streams[1].at >= wait && stage.streams[1].at <= wait + 11_000, `${stage.streams[1].at}`);
      assert.ok(stage.requests.length > 10);
    });
  }

  test('are all there is if the server has no streams', async () => {
    const stage = streaming();
    stage.refuse = () => Response.json({}, { status: 404 });
    const watch = stage.watch('a', { status: RUNNING });
    await pass(stage, 60_000);
    stage.page.turn(true);
    stage.page.turn(false);
    stage.poller.remove(watch);
    stage.poller.add(watch);
    await pass(stage, 60_000);
    assert.equal(stage.streams.length, 1);
    assert.ok(stage.requests.length > 50);
  });

  for (const [what, prepare] of [
    [
      'in a context without locks',
      () => Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true }),
    ],
    ['of another status URL', (stage) => (stage.page.config.src = '/other')],
    ['of a page without streams', (stage) => delete stage.page.config.events],
  ]) {
    test(`are not delayed ${what}`, async () => {
      const stage = streaming();
      prepare(stage);
      stage.watch('a');
      await pass(stage, 60_000);
      assert.deepEqual([stage.requests[0].at, stage.streams.length], [0, 0]);
    });
  }

  test('go on if the browser denies the locks', async () => {
    const stage = streaming();
    stage.locks.request = () => Promise.reject(new DOMException('denied', 'SecurityError'));
    stage.watch('a');
    await pass(stage, 60_000);
    assert.deepEqual([stage.requests[0].at, stage.streams.length], [1000, 0]);
  });
});

describe('pages', () => {
  test('a hidden page closes its stream, and opens one when it is visible again', async () => {
    const { stage, watch } = await following();
    stage.page.turn(true);
    assert.equal(stage.streams[0].signal.aborted, true);
    await pass(stage, 60_000);
    assert.deepEqual([stage.requests.length, stage.streams.length, stage.locks.held.size], [0, 1, 0]);
    stage.page.turn(false);
    await pass(stage, 10);
    assert.equal(stage.streams.length, 2);
    stage.streams[1].stream.send({ a: at(7) });
    await idle(stage, 6000);
    assert.deepEqual([watch.status, stage.requests.length], [at(7), 0]);
  });

  test('a page that is hidden from the start opens a stream when it becomes visible', async () => {
    const stage = streaming();
    stage.page.hidden = true;
    stage.watch('a');
    await pass(stage, 20_000);
    assert.equal(stage.streams.length, 0);
    stage.page.turn(false);
    await pass(stage, 10);
    assert.deepEqual([stage.streams.length, stage.requests.length], [1, 0]);
  });

  test('an account has two streams; another page polls, and takes the place of one that goes', async () => {
    const stage = streaming();
    stage.random = random;
    const pages = Array.from({ length: 5 }, () => {
      const poller = new ProgressPoller(stage.url);
      const watch = new Watch('a', () => {}, { status: RUNNING });
      poller.add(watch);
      return { close: () => poller.remove(watch) };
    });
    await pass(stage, 100);
    assert.equal(stage.streams.length, 2);
    for (const { stream } of stage.streams) stream.send({ a: at(2) });
    for (let i = 0; i < 10; i += 1) {
      for (const { stream } of stage.streams) stream.send(':\n\n');
      await pass(stage, 3000);
    }
    assert.equal(stage.streams.length, 2);
    assert.ok(stage.requests.length > 3 * 10);
    pages[0].close();
    for (let i = 0; i < 3; i += 1) {
      for (const { stream, signal } of stage.streams) if (!signal.aborted) stream.send(':\n\n');
      await pass(stage, 3000);
    }
    assert.equal(stage.streams.length, 3);
    assert.equal(stage.streams.filter(({ signal }) => !signal.aborted).length, 2);
    for (const { close } of pages) close();
    await pass(stage, 1000);
    assert.deepEqual([stage.clock.pending, stage.locks.held.size], [0, 0]);
  });

  test('the end goes to the hidden pages of the account', async () => {
    const { stage, stream } = await following();
    const told = [];
    const channel = new BroadcastChannel(`mary ${stage.url}`);
    channel.onmessage = ({ data }) => told.push(data);
    stream.send({ a: FINISHED });
    await pass(stage);
    const deadline = Date.now() + 500;
    while (!told.length && Date.now() < deadline) await new Promise(setImmediate);
    channel.close();
    assert.deepEqual(told, [['a', FINISHED]]);
  });
});

describe('bars that come and go', () => {
  test('one more is followed by a stream of both', async () => {
    const { stage, watch } = await following();
    await idle(stage, 6000);
    const others = ['b', 'c', 'd'].map((id) => stage.watch(id));
    await pass(stage, 200);
    assert.deepEqual(
      stage.streams.slice(1).map(({ ids }) => ids),
      [['a', 'b', 'c', 'd']],
    );
    stage.streams[1].stream.send(all(['a', 'b', 'c', 'd'], at(4)));
    await idle(stage, 9000);
    for (const { status } of [watch, ...others]) assert.deepEqual(status, at(4));
    assert.deepEqual([stage.requests.length, stage.streams.length], [0, 2]);
  });

  test('one that is added soon after the first waits for the stream of both', async () => {
    const { stage } = await following();
    await pass(stage, 100);
    stage.watch('b');
    await pass(stage, 1050);
    assert.deepEqual(stage.streams[1].ids, ['a', 'b']);
    await pass(stage, 700);
    stage.streams[1].stream.send(all(['a', 'b'], at(4)));
    await idle(stage, 6000);
    assert.deepEqual([stage.requests.length, stage.streams.length], [0, 2]);
  });

  test('a stream of more tasks has the lock of the one before', async () => {
    const { stage } = await following();
    stage.locks.held.add(`mary ${stage.events} 2`);
    await pass(stage, 2000);
    stage.watch('b');
    await pass(stage, 200);
    assert.deepEqual([stage.streams.length, stage.streams[1].signal.aborted], [2, false]);
  });

  test('a status that the stream was not asked for is not shown', async () => {
    const { stage, stream } = await following();
    stream.send({ b: at(3) });
    await pass(stage, 2000);
    const other = stage.watch('b');
    await pass(stage, 200);
    assert.deepEqual([other.state, stage.streams[1].ids], ['waiting', ['a', 'b']]);
  });

  test('many, one after the other, do not make many streams', async () => {
    const { stage } = await following();
    for (let i = 0; i < 40; i += 1) {
      stage.watch(`task-${i}`);
      await pass(stage, 100);
      const { ids, stream } = stage.streams.at(-1);
      if (!stage.streams.at(-1).isAnswered) stream.send(all(ids, RUNNING));
      stage.streams.at(-1).isAnswered = true;
    }
    await pass(stage, 2000);
    assert.ok(stage.streams.length <= 6, `${stage.streams.length}`);
    assert.equal(stage.streams.at(-1).ids.length, 41);
    assert.equal(stage.requests.length, 0);
  });

  test('if the stream of both does not open, they are polled', async () => {
    const { stage } = await following();
    await idle(stage, 6000);
    stage.refuse = () => Response.json({}, { status: 503 });
    const other = stage.watch('b', { status: RUNNING });
    await pass(stage, 1100);
    assert.deepEqual(stage.requests[0].ids, ['a', 'b']);
    assert.equal(other.state, 'running');
  });

  test('if the stream of both is slow, they are polled', async () => {
    const { stage } = await following();
    await idle(stage, 6000);
    stage.refuse = () => new Promise(() => {});
    stage.watch('b', { status: RUNNING });
    await pass(stage, 1300);
    assert.deepEqual(stage.requests[0].ids, ['a', 'b']);
  });

  test('a second bar of a task shows its status at once', async () => {
    const { stage, watch } = await following();
    const other = stage.watch('a');
    await pass(stage);
    assert.deepEqual(other.status, at(2));
    stage.poller.remove(watch);
    await idle(stage, 9000);
    assert.deepEqual([stage.requests.length, stage.streams.length], [0, 1]);
  });

  test('a new bar of a task that has ended asks again', async () => {
    const { stage, watch, stream } = await following();
    stage.watch('b');
    await pass(stage, 1000);
    stage.streams[1].stream.send({ a: FINISHED, b: RUNNING });
    await pass(stage, 2000);
    assert.equal(watch.state, 'finished');
    const next = stage.watch('a', { previousEnd: FINISHED });
    await pass(stage, 1000);
    stage.streams[2].stream.send({ a: FINISHED, b: RUNNING });
    await pass(stage);
    assert.equal(next.state, 'waiting');
    assert.ok(stream);
    stage.streams[2].stream.send({ a: at(1) });
    await pass(stage);
    assert.equal(next.state, 'running');
  });

  test('of sixty tasks, ten are polled', async () => {
    const stage = streaming();
    for (let i = 0; i < 60; i += 1) stage.watch(`task-${i}`, { status: RUNNING });
    await pass(stage, 10);
    const [{ ids, stream }] = stage.streams;
    assert.equal(ids.length, 50);
    stream.send(all(ids, RUNNING));
    await idle(stage, 15_000);
    assert.ok(stage.requests.length > 5);
    assert.ok(stage.requests.every((request) => request.ids.length === 10 && !ids.includes(request.ids[0])));
    assert.equal(stage.streams.length, 1);
  });

  test('a bar in a removed frame is dropped', async () => {
    const stage = streaming();
    let isAttached = true;
    stage.watch('a', { isAttached: () => isAttached });
    await pass(stage, 10);
    stage.streams[0].stream.send({ a: RUNNING });
    await idle(stage, 3000);
    isAttached = false;
    await idle(stage, 3000);
    assert.deepEqual([stage.streams[0].signal.aborted, stage.clock.pending, stage.page.listeners], [true, 0, 0]);
  });
});
