import { RateLimiterCluster, RateLimiterClusterMaster } from 'rate-limiter-flexible';
import { type SharedCounter, WINDOW_S } from './rate-counter.ts';

/** Milliseconds after which the library forgets a question; who asked has gone on by then. */
const FORGOTTEN_MS = 1_000;

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
    limiter: (points) =>
      new RateLimiterCluster({ keyPrefix: `${points} a minute`, points, duration: WINDOW_S, timeoutMs: FORGOTTEN_MS }),
  };
}
