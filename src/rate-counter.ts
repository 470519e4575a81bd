import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import type { Redis } from './redis.ts';

/** Counts what is limited: for all instances together where there is a Redis that answers, else for this one. */
export interface RateCounter {
  /** Counts one for `key`; answers the milliseconds until the next is taken, 0 when this one is. Never rejects. */
  take(key: string, perMinute: number): Promise<number>;
}

/** Milliseconds that a call waits for Redis, and that Redis is then left alone: a frozen one costs one call in many a little time. */
const PATIENCE_MS = 100;
const LEFT_ALONE_MS = 2_000;
const WINDOW_S = 60;

/** A limiter for each limit: a minute begins with a key's first call. */
export function createRateCounter(redis?: Redis): RateCounter {
  const local = limiters((points) => new RateLimiterMemory({ points, duration: WINDOW_S }));
  const shared = redis && limiters((points) => sharedLimiter(redis, points));
  let aloneUntil = 0;
  return {
    async take(key, perMinute) {
      if (shared && redis.isReady && performance.now() >= aloneUntil) {
        try {
          return await inTime(waitAfter(shared(perMinute).consume(key)));
        } catch {
          aloneUntil = performance.now() + LEFT_ALONE_MS;
        }
      }
      return waitAfter(local(perMinute).consume(key));
    },
  };
}

function limiters<T>(make: (points: number) => T): (points: number) => T {
  const made = new Map<number, T>();
  return (points) => {
    const limiter = made.get(points) ?? make(points);
    made.set(points, limiter);
    return limiter;
  };
}

function sharedLimiter(storeClient: Redis, points: number): RateLimiterRedis {
  return new RateLimiterRedis({
    storeClient,
    useRedisPackage: true,
    keyPrefix: 'amrutam:rate',
    points,
    duration: WINDOW_S,
  });
}

/** The library rejects with a result when a limit is passed, and with an error when the store fails. */
async function waitAfter(taken: Promise<RateLimiterRes>): Promise<number> {
  try {
    await taken;
    return 0;
  } catch (refused) {
    if (!(refused instanceof RateLimiterRes)) throw refused;
    return Math.max(1, Math.min(refused.msBeforeNext, WINDOW_S * 1000));
  }
}

/** The client's own time limit counts only until a command is sent. An answer that is there, though we were too busy to read it, counts. */
async function inTime<T>(answer: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => setImmediate(() => late.reject(new Error('no answer in time'))), PATIENCE_MS);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
