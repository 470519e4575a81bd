import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import type { Redis } from './redis.ts';

/** Counts what is limited: together with others as long as they answer, else for this process. */
export interface RateCounter {
  /** Counts one for `key`; answers the milliseconds until the next is taken, 0 when this one is. Never rejects. */
  take(key: string, perMinute: number): Promise<number>;
}

/** Where several processes count together. */
export interface SharedCounter {
  /** False while there is no use in asking. */
  isThere(): boolean;
  /** Milliseconds that a call waits for it. */
  readonly patienceMs: number;
  /** Lets `points` through in WINDOW_S. */
  limiter(points: number): Limiter;
}

type Limiter = Pick<RateLimiterMemory, 'consume'>;

/** Milliseconds that a call waits for Redis, and that what doesn't answer is then left alone: a frozen one costs one call in many a little time. */
const PATIENCE_MS = 100;
const LEFT_ALONE_MS = 2_000;
/** Seconds that a limit is for; they begin with a key's first call. */
export const WINDOW_S = 60;

/** Counts at the first of `shared` that answers, else here. */
export function createRateCounter(shared: readonly SharedCounter[] = []): RateCounter {
  const local = limiters((points) => new RateLimiterMemory({ points, duration: WINDOW_S }));
  const asked = shared.map((counter) => ({
    ...counter,
    limiter: limiters((points) => counter.limiter(points)),
    aloneUntil: 0,
  }));
  return {
    async take(key, perMinute) {
      for (const counter of asked) {
        if (!counter.isThere() || performance.now() < counter.aloneUntil) continue;
        try {
          return await inTime(waitAfter(counter.limiter(perMinute).consume(key)), counter.patienceMs);
        } catch {
          counter.aloneUntil = performance.now() + LEFT_ALONE_MS;
        }
      }
      return waitAfter(local(perMinute).consume(key));
    },
  };
}

/** Counted over all instances that know the same Redis. */
export function countedByRedis(redis: Redis): SharedCounter {
  return { isThere: () => redis.isReady, patienceMs: PATIENCE_MS, limiter: (points) => sharedLimiter(redis, points) };
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
async function inTime<T>(answer: Promise<T>, patienceMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => setImmediate(() => late.reject(new Error('no answer in time'))), patienceMs);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
