import { setTimeout as sleep } from 'node:timers/promises';
import type { Runner } from 'graphile-worker';
import type { Trouble } from './trouble.ts';

/** Milliseconds before the library is started again when it has ended: doubled each time, until it has run for longer than the longest. */
const PAUSE_MS = { first: 1_000, longest: 30_000 };

/** Runs the library until `signal` aborts, and again when it gives up: so it does when it can't say that a job is done. */
export async function keepRunning(start: () => Promise<Runner>, signal: AbortSignal, trouble: Trouble): Promise<void> {
  for (let pauseMs = PAUSE_MS.first; !signal.aborted; pauseMs = Math.min(2 * pauseMs, PAUSE_MS.longest)) {
    const startedAt = performance.now();
    try {
      await ranUntil(signal, await start(), trouble);
    } catch (error) {
      trouble.happened((error as Error).message);
    }
    if (performance.now() - startedAt > PAUSE_MS.longest) pauseMs = PAUSE_MS.first;
    await sleep(pauseMs, undefined, { signal, ref: false }).catch(() => {});
  }
}

async function ranUntil(signal: AbortSignal, runner: Runner, trouble: Trouble): Promise<void> {
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped = runner.stop().catch(({ message }: Error) => trouble.happened(message));
  };
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    await runner.promise;
  } finally {
    signal.removeEventListener('abort', stop);
    await stopped;
  }
}
