import { once } from 'node:events';
import net from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import type { Limits } from './limits.ts';
import { type Listeners, listeners } from './listeners.fixture.ts';

const PATH = '/test.v1.Kinds/Unary';

let served: Listeners;
let sockets: net.Socket[] = [];
let answers: number;

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  await served.close();
});

async function serve(limits: Partial<Limits>, answerMs = 0): Promise<void> {
  answers = 0;
  const unary = async () => {
    answers += 1;
    await wait(answerMs);
    return { text: 'x'.repeat(200_000) };
  };
  served = await listeners({ kinds: { unary } as never }, { limits });
}

/** Sends `count` requests at once and reads nothing. Whether the connection is cut within a second. */
async function pipeline(count: number): Promise<boolean> {
  const socket = net.connect(served.http, '127.0.0.1').on('error', () => {});
  sockets.push(socket);
  const one = `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
  socket.pause().write(one.repeat(count));
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  socket.resume();
  return Promise.race([once(socket, 'close').then(() => true), wait(300).then(() => false)]);
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('answers that queue behind the first one on a connection count as unread', async () => {
  await serve({ unreadBytes: 4 * 1024 * 1024 });
  expect(await Promise.all([pipeline(60), pipeline(5)])).toEqual([true, false]);
  expect(served.log.find(({ msg }) => msg === 'turned away')).toMatchObject({
    counts: { 'request that never ended or answer never read': 1 },
  });
});

test('a connection has so many requests without an answer; those before and beside it are served', async () => {
  await serve({ streams: 10 }, 500);
  expect(await Promise.all([pipeline(11), pipeline(10)])).toEqual([true, false]);
  expect(answers).toBeLessThanOrEqual(20);
});

test('requests over HTTP/1 count among the streams of a client, and give their places back', async () => {
  await serve({ streamsEach: 10 }, 500);
  expect(await pipeline(11)).toBe(true);
  for (let i = 0; i < 3; i++) expect(await pipeline(5)).toBe(false);
});
