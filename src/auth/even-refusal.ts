import { setTimeout as sleep } from 'node:timers/promises';
import { Fault } from '../fault.ts';

/** Longer than a comparison and what is written after it take, by far, unless the instance is overloaded. */
const LEAST_MS = 250;

/**
 * Does `work`, but a CREDENTIALS_INVALID leaves no sooner than 250 ms after its begin: whether an account exists, waits or
 * was just counted a wrong password can't be told from the time, however often it is measured.
 */
export async function refuseEvenly<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  try {
    return await work();
  } catch (error) {
    if (error instanceof Fault && error.reason === 'CREDENTIALS_INVALID') await wait(startedAt, signal);
    throw error;
  }
}

/** Does `work`, and whatever comes of it leaves no sooner than 250 ms after its begin: what it had to do can't be told from the time. */
export async function answerEvenly<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  try {
    return await work();
  } finally {
    await wait(startedAt, signal);
  }
}

function wait(startedAt: number, signal: AbortSignal): Promise<void> {
  return sleep(Math.max(0, startedAt + LEAST_MS - performance.now()), undefined, { signal });
}
