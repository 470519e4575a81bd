import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { hasRedis, startRedis, type TestRedis } from '../test/support/redis.ts';
import { countedByRedis, createRateCounter, type RateCounter } from './rate-counter.ts';
import { closeRedis, openRedis, type Redis } from './redis.ts';

/** How many of `count` calls at once for `key` are taken. */
async function taken(
  counters: readonly RateCounter[],
  { key, count }: { key: string; count: number },
): Promise<number> {
  const waits = await Promise.all(
    Array.from({ length: count }, (_, i) => (counters[i % counters.length] as RateCounter).take(key, 10)),
  );
  for (const wait of waits.filter((ms) => ms > 0)) expect(wait).toBeLessThanOrEqual(60_000);
  return waits.filter((ms) => ms === 0).length;
}

describe('without Redis', () => {
  test('ten a minute are taken for each key, the others told how long to wait', async () => {
    const counter = createRateCounter();
    expect(await taken([counter], { key: 'a', count: 25 })).toBe(10);
    expect(await taken([counter], { key: 'b', count: 5 })).toBe(5);
    expect(await counter.take('a', 10)).toBeGreaterThan(50_000);
  });

  test('each instance counts for itself', async () => {
    const [one, other] = [createRateCounter(), createRateCounter()];
    expect(await taken([one], { key: 'a', count: 10 })).toBe(10);
    expect(await taken([other], { key: 'a', count: 10 })).toBe(10);
  });
});

(hasRedis ? describe : describe.skip)('with Redis', () => {
  let redis: TestRedis;
  let clients: Redis[];
  let counters: RateCounter[];
  let problems: string[];

  beforeEach(async () => {
    redis = await startRedis();
    problems = [];
    const found: Promise<void>[] = [];
    clients = [1, 2].map(() => {
      const ready = Promise.withResolvers<void>();
      found.push(ready.promise);
      return openRedis(redis.url, { warn: (problem) => void problems.push(problem), found: ready.resolve });
    });
    await Promise.all(found);
    counters = clients.map((client) => createRateCounter([countedByRedis(client)]));
  });

  afterEach(async () => {
    clients.forEach(closeRedis);
    await redis.kill();
  });

  const untilShared = async () => {
    for (const deadline = Date.now() + 10_000; clients.some(({ isReady }) => !isReady); await sleep(20))
      if (Date.now() > deadline) throw new Error('Redis was not found again');
    await sleep(2_100); // it was left alone for two seconds
  };

  test('instances count together', async () => {
    expect(await taken(counters, { key: 'a', count: 30 })).toBe(10);
  });

  test('killed: each goes on counting for itself, never without limit, and they count together again when it is back', async () => {
    await redis.kill();
    expect(await taken(counters, { key: 'a', count: 40 })).toBe(20);
    expect(problems.length).toBeGreaterThan(0);
    await redis.start();
    await untilShared();
    expect(await taken(counters, { key: 'b', count: 40 })).toBe(10);
  });

  test('frozen: a call waits a moment at most, the next ones not at all', async () => {
    redis.freeze();
    expect(await taken(counters, { key: 'a', count: 40 })).toBe(20);
    const startedAt = performance.now();
    for (let i = 0; i < 100; i++) await counters[0]?.take(`key ${i}`, 10);
    expect(performance.now() - startedAt).toBeLessThan(1_000); // not 100 waits of 100 ms
    redis.thaw();
    await untilShared();
    expect(await taken(counters, { key: 'b', count: 40 })).toBe(10);
  });

  test('poisoned: a key that holds something else is counted here', async () => {
    await clients[0]?.hSet('amrutam:rate:a', 'field', 'value');
    expect(await taken([counters[0] as RateCounter], { key: 'a', count: 25 })).toBe(10);
  });
});
