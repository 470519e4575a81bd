import { brokenInvariants } from '../../test/support/people.ts';
import type { Premises } from './premises.ts';

const UNEQUAL = 'answers without a line in the audit trail';

/** Throws when what must hold whatever happened doesn't. A request that was new again has one answer and two lines. */
export async function premisesHold({ clinic, tally }: Premises): Promise<void> {
  const { [UNEQUAL]: unequal = 0, ...broken } = await brokenInvariants(clinic);
  if (unequal !== tally.newAgain || Object.keys(broken).length)
    throw new Error(`broken: ${JSON.stringify({ ...broken, [UNEQUAL]: unequal - tally.newAgain })}`);
}
