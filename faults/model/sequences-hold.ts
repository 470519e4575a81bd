import fc from 'fast-check';
import { inLanes } from './lanes.ts';
import { play } from './play.ts';
import type { Premises } from './premises.ts';
import { premisesHold } from './premises-hold.ts';
import { sequences } from './steps.ts';

/** Which of the random things are played. The one with number n of a seed is the first of the seed n higher. */
export interface Series {
  readonly seed: number;
  readonly count: number;
  /** Whether instances may be killed. */
  readonly kills: boolean;
  /** Told how many have been played so far. */
  readonly onPlayed?: (played: number) => void;
}

/** Milliseconds that shrinking may take. */
const SHRINK_MS = 30_000;

/**
 * Plays random sequences, and answers how often each answer was met. Throws for the first that differs from the
 * specification, shrunk to what it takes, with the seed that plays it again.
 */
export async function sequencesHold(
  lanes: readonly Premises[],
  { seed, count, kills, onPlayed }: Series,
): Promise<Readonly<Record<string, number>>> {
  const met: Record<string, number> = {};
  let played = 0;
  await inLanes(lanes, count, async (premises, number) => {
    const property = fc.asyncProperty(sequences({ kills }), async (steps) => {
      for (const reason of await play(premises, steps)) met[reason] = (met[reason] ?? 0) + 1;
    });
    const options = { seed: seed + number, numRuns: 1, unbiased: true, interruptAfterTimeLimit: SHRINK_MS };
    const { failed, errorInstance } = await fc.check(property, options);
    if (failed) throw new Error(`${(errorInstance as Error).message}\nAgain with seed ${seed + number}.`);
    onPlayed?.(++played);
  });
  await Promise.all(lanes.map(premisesHold));
  return met;
}
