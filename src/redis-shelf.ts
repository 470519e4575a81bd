import type { Shelf } from './availability/shelf.ts';
import type { Redis } from './redis.ts';

/** Milliseconds that a read waits for Redis, and that Redis is then left alone: a frozen one costs one call in many a little time. */
const PATIENCE_MS = 50;
const LEFT_ALONE_MS = 2_000;

/** Redis as a place where instances leave texts for each other. */
export function redisShelf(redis: Redis): Shelf {
  let aloneUntil = 0;
  const there = () => redis.isReady && performance.now() >= aloneUntil;
  const leaveAlone = () => {
    aloneUntil = performance.now() + LEFT_ALONE_MS;
  };
  return {
    async get(key) {
      if (!there()) return undefined;
      const late = Promise.withResolvers<undefined>();
      const timer = setTimeout(() => {
        leaveAlone();
        late.resolve(undefined);
      }, PATIENCE_MS);
      try {
        return (await Promise.race([redis.get(key), late.promise])) ?? undefined;
      } catch {
        leaveAlone();
        return undefined;
      } finally {
        clearTimeout(timer);
      }
    },
    put(key, text, ms) {
      if (there()) redis.set(key, text, { expiration: { type: 'PX', value: ms } }).catch(leaveAlone);
    },
  };
}
