import fc from 'fast-check';
import { playCrowd } from './crowd.ts';
import { inLanes } from './lanes.ts';
import { whyNotLinearizable } from './linearizable.ts';
import { plans } from './plans.ts';
import type { Premises } from './premises.ts';
import { premisesHold } from './premises-hold.ts';
import type { Series } from './sequences-hold.ts';

/** What was recorded, all crowds together. */
export interface CrowdFigures {
  readonly calls: number;
  readonly withoutAnswer: number;
}

/**
 * Lets random crowds act, and searches each history for an order that explains it. Throws for the first that has none, with
 * the whole history and the seed of its plan: who comes first is up to the machine each time.
 */
export async function crowdsHold(
  lanes: readonly Premises[],
  { seed, count, kills, onPlayed }: Series,
): Promise<CrowdFigures> {
  let [played, recorded, withoutAnswer] = [0, 0, 0];
  await inLanes(lanes, count, async (premises, number) => {
    const [plan] = fc.sample(plans({ kills }), { seed: seed + number, numRuns: 1 });
    if (!plan) throw new Error('nothing was planned');
    const { begin, calls } = await playCrowd(premises, plan).catch((error: Error) => {
      throw new Error(`${error.message}\nThe same plan again with seed ${seed + number}.`, { cause: error });
    });
    const why = whyNotLinearizable(calls, begin);
    if (why) throw new Error(`${why}\nThe same plan again with seed ${seed + number}.`);
    recorded += calls.length;
    withoutAnswer += calls.filter(({ answer }) => !answer).length;
    onPlayed?.(++played);
  });
  await Promise.all(lanes.map(premisesHold));
  return { calls: recorded, withoutAnswer };
}
