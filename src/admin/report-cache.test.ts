import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, test } from '@jest/globals';
import { createReportCache, FRESH_MS, type ReportCache } from './report-cache.ts';

let [now, reads] = [0, 0];
let cache: ReportCache;
const { signal } = new AbortController();

beforeEach(() => {
  [now, reads] = [0, 0];
  cache = createReportCache({ clock: () => now });
});

/** A read that takes a moment, and says which it was. */
const read = async (ends: AbortSignal): Promise<Uint8Array> => {
  const nth = ++reads;
  await sleep(20, undefined, { signal: ends });
  return Buffer.from(`${nth}`);
};
const ask = async (key: string, caller = signal) => Buffer.from(await cache.answer(key, read, caller)).toString();

test('what is asked again within the time is read once, and read again after it', async () => {
  expect(await ask('a')).toBe('1');
  now = FRESH_MS - 1;
  expect(await ask('a')).toBe('1');
  now = FRESH_MS;
  expect(await ask('a')).toBe('2');
});

test('the time counts from when the read began, not from when it ended', async () => {
  const slow = ask('a');
  now = FRESH_MS;
  expect(await slow).toBe('1');
  expect(await ask('a')).toBe('2');
});

test('a crowd that asks at once costs one read, each question its own', async () => {
  const answers = await Promise.all([...Array.from({ length: 20 }, () => ask('a')), ask('b')]);
  expect(answers).toEqual([...Array(20).fill('1'), '2']);
});

test('nobody joins a read that began too long ago', async () => {
  const first = ask('a');
  now = FRESH_MS;
  expect(await ask('a')).toBe('2');
  expect(await first).toBe('1');
});

test('one of two goes away: the other is answered; the last goes away: the read ends, and the next begins anew', async () => {
  const [one, other] = [new AbortController(), new AbortController()];
  const leaving = ask('a', one.signal);
  const staying = ask('a', other.signal);
  one.abort(new Error('gone'));
  await expect(leaving).rejects.toThrow('gone');
  expect(await staying).toBe('1');

  let ended: unknown;
  const alone = new AbortController();
  const hanging = cache.answer(
    'b',
    async (ends) => {
      await sleep(60_000, undefined, { signal: ends }).catch(() => {
        ended = ends.reason;
      });
      throw ended;
    },
    alone.signal,
  );
  const gone = new Error('gone too');
  alone.abort(gone);
  await expect(hanging).rejects.toThrow('gone too');
  await sleep(0);
  expect(ended).toBe(gone);
  expect(await ask('b')).toBe('2');
});

test('a failure is everybody’s who waits for it, and is not kept', async () => {
  const failing = () => cache.answer('a', () => Promise.reject(new Error('no such doctor')), signal);
  const outcomes = await Promise.allSettled([failing(), failing()]);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(await ask('a')).toBe('1');
});
