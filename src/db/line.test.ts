import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import type { Fault } from '../fault.ts';
import { createLine, type Line } from './line.ts';

const CONNECTIONS = 4;
const forEver = new AbortController().signal;
let leaves: (() => void)[] = [];
let end = new AbortController();

afterEach(() => {
  end.abort(new Error('the test is over'));
  for (const leave of leaves) leave();
  leaves = [];
  end = new AbortController();
});

/** Some who enter and stay; those beyond the connections wait until the test ends. */
async function crowd(line: Line, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    line.enter(end.signal).then(
      (leave) => leaves.push(leave),
      () => {},
    );
  }
  await sleep(0);
}

/** One who enters, works for some milliseconds and leaves. */
async function visit(line: Line, ms: number): Promise<void> {
  const leave = await line.enter(forEver);
  await sleep(ms);
  leave();
}

test('as many at once as there are connections; the next when one leaves', async () => {
  const line = createLine({ connections: CONNECTIONS, waitMs: 5_000 });
  await crowd(line, CONNECTIONS + 2);
  expect(leaves).toHaveLength(CONNECTIONS);
  leaves.shift()?.();
  await sleep(0);
  expect(leaves).toHaveLength(CONNECTIONS);
});

test('who waits too long is told so', async () => {
  const line = createLine({ connections: CONNECTIONS, waitMs: 30 });
  await crowd(line, CONNECTIONS);
  const refused = await line.enter(forEver).catch((error: Fault) => error);
  expect(refused).toMatchObject({ reason: 'OVERLOADED' });
});

test('a crowd that comes at once is let in as long as the last will have its turn in time', async () => {
  const line = createLine({ connections: CONNECTIONS, waitMs: 1_000 });
  await visit(line, 20);
  await crowd(line, CONNECTIONS + 100); // for some 500 ms
  expect(line.full()).toBe(false);
  await crowd(line, 150);
  expect(line.full()).toBe(true);
});

test('a thousand in line are enough, however fast it moves', async () => {
  const line = createLine({ connections: CONNECTIONS, waitMs: 60_000 });
  await crowd(line, CONNECTIONS + 999);
  expect(line.full()).toBe(false);
  await crowd(line, 1);
  expect(line.full()).toBe(true);
});

test('once it was full it is kept short: newcomers wait for 50 ms at most, and who has waited for 200 is refused', async () => {
  const line = createLine({ connections: 1, waitMs: 600 });
  await visit(line, 30);
  await crowd(line, 1);
  const early = line.enter(forEver).catch((error: Fault) => error.reason);
  await sleep(280);
  await crowd(line, 8);
  expect(line.full()).toBe(false);
  await crowd(line, 30);
  expect(line.full()).toBe(true);
  expect(await early).toBe('OVERLOADED');
  end.abort(new Error('they give up'));
  await sleep(0);
  end = new AbortController();
  expect(line.full()).toBe(false);
  await crowd(line, 1);
  expect(line.full()).toBe(false);
  await crowd(line, 5);
  expect(line.full()).toBe(true);
});

test('who gives up waiting leaves the line', async () => {
  const line = createLine({ connections: 1, waitMs: 5_000 });
  await crowd(line, 1_001);
  expect(line.full()).toBe(true);
  end.abort(new Error('they give up'));
  await sleep(0);
  expect(line.full()).toBe(false);
});
