import { RateLimiterCluster, RateLimiterClusterMaster } from 'rate-limiter-flexible';
import { type SharedCounter, WINDOW_S } from './rate-counter.ts';

/** Milliseconds that a call waits for the supervisor: on a busy machine it may have to wait for a core, and a dead one is known at once. */
const PATIENCE_MS = 1_000;

/** Has the calling process, a supervisor, count what its processes count at `countedBySupervisor`. */
export function countForProcesses(): void {
  new RateLimiterClusterMaster();
}

/** Counted over all processes of the calling process' supervisor, while that is there. */
export function countedBySupervisor(): SharedCounter {
  // The library sends without a callback; what becomes of that when the supervisor is gone would end the process.
  process.on('error', () => {});
  return {
    isThere: () => process.connected,
    patienceMs: PATIENCE_MS,
    limiter: (points) =>
      new RateLimiterCluster({
        keyPrefix: `${points} a minute`,
        points,
        duration: WINDOW_S,
        timeoutMs: 2 * PATIENCE_MS,
      }),
  };
}
