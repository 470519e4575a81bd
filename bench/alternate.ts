import { median } from './quantile.ts';
import type { Round } from './side.ts';

/**
 * Lets each do its part in turn, A B A B, so that what else the machine does hits all alike. Tells each the round, from 0 on;
 * answers each one's rounds.
 */
export async function alternate<R>(rounds: number, parts: readonly ((round: number) => Promise<R>)[]): Promise<R[][]> {
  const done = parts.map((): R[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, part] of parts.entries()) done[i]?.push(await part(round));
  }
  return done;
}

/** How often ours was as fast: the median of the rounds' ratios, each of two runs that followed one another. */
export function ratioOf(ours: readonly Round[], theirs: readonly Round[]): number {
  return median(ours.map(({ perSecond }, round) => perSecond / (theirs[round] as Round).perSecond));
}
