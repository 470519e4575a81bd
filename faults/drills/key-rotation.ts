import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { person } from '../../test/support/people.ts';
import { clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import type { Drill, Stage } from '../drill.ts';
import { type KeyedInstance, type KeySets, keyedInstance, makeKeySets } from '../keys/keyed-instance.ts';
import { type RefreshingCallers, startRefreshing } from '../keys/refreshing-callers.ts';
import { spoil } from '../keys/spoiled-files.ts';

const CALLERS = 6;
/** From when a key is read until it signs: one reading of every instance, and the minute for which others may cache the set. */
const SETTLING_S = 90;

export const keyRotation: Drill = {
  name: 'key-rotation',
  story:
    'a new key is published, signs, and the old one goes, under callers whose tokens come from either of two instances; other instances find spoiled files',
  breaks: [
    {
      file: 'src/auth/signing-keys.ts',
      from: '+at - reloadMs - JWKS_CACHE_MS',
      to: '+at',
      means: 'a key signs as soon as one instance has read it',
    },
    {
      file: 'src/auth/signing-keys.ts',
      from: 'read(+now()).catch(onError)',
      to: 'read(+now()).catch(() => {})',
      means: "a file that can't be used is passed over in silence",
    },
    {
      file: 'src/auth/signing-keys.ts',
      from: 'const keptMs = reloadMs + TOKEN_LIFE_MS + CLOCK_TOLERANCE_MS;',
      to: 'const keptMs = 0;',
      means: 'a key that is taken out is forgotten at once',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    const folder = await mkdtemp(join(tmpdir(), 'amrutam-rotation-'));
    try {
      const sets = await makeKeySets(clinic.keysFile, folder);
      // The later of the two reads its file two seconds before the earlier one.
      const late = await keyedInstance(clinic, folder, 'late');
      const early = await keyedInstance(clinic, folder, 'early');
      const callers = await startRefreshing(clinic, [early, late], CALLERS);
      const spoiled = spoilAll(clinic, folder, { sets, stage });
      const [others] = await Promise.all([spoiled, rotate({ early, late, callers, sets, stage })]);
      await takesNew(callers, others);
      const { issued, checked, kids } = await callers.stop();
      if (kids.size !== 2) throw new Error('the new key has never signed');
      return {
        acknowledged: issued,
        lost: 0,
        doubled: 0,
        notes: [`${checked} uses of ${issued} tokens of both keys, none refused`],
      };
    } finally {
      await clinic.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
};

interface Rotation {
  readonly early: KeyedInstance;
  readonly late: KeyedInstance;
  readonly callers: RefreshingCallers;
  readonly sets: KeySets;
  readonly stage: Stage;
}

/** Puts the new key in, for one instance half a minute later than for the other, and the old one out when the new one signs. */
async function rotate({ early, late, callers, sets, stage }: Rotation): Promise<void> {
  await early.put(sets.both);
  await callers.whileRunning(until(() => early.publishes(sets.newKid), 35));
  stage.say('one instance publishes the new key');
  // The other has read its file moments ago: it will see this one half a minute later.
  await late.put(sets.both);
  await callers.whileRunning(until(() => late.publishes(sets.newKid), 35));
  stage.say('so does the other');
  await callers.whileRunning(until(async () => callers.kids.has(sets.newKid), SETTLING_S + 10));
  stage.say('the new key signs at one of them');
  await early.put(sets.next);
  // A removed key stays published, so that its removal shows by its place only.
  await callers.whileRunning(sleep(35_000));
  stage.say('the old key has been taken out there, and its tokens are still taken');
}

/** Instances whose files are spoiled, two ways each, and then become good again with the new key in them. */
async function spoilAll(
  clinic: Clinic,
  folder: string,
  { sets, stage }: { sets: KeySets; stage: Stage },
): Promise<KeyedInstance[]> {
  const patient = await person(clinic, 'PATIENT');
  const takesOld = async (instance: KeyedInstance) => {
    const { reason } = await outcomeOf(patient, (as) => clientsOf(instance.service).grpc.auth.getCurrentUser({}, as));
    return reason === 'OK';
  };
  const others = await Promise.all([0, 1, 2, 3].map((i) => keyedInstance(clinic, folder, `other-${i}`)));
  await Promise.all(others.map((instance, i) => spoil(instance, i, { sets, stage, takesOld })));
  return others;
}

/** Everybody takes tokens of the new key by now. */
async function takesNew(callers: RefreshingCallers, others: readonly KeyedInstance[]): Promise<void> {
  for (const { service } of others) {
    const told = await callers.newestToldBy(service);
    if (told !== 'OK') throw new Error(`a token of the new key was told ${told}`);
  }
}

/** Asks twice a second until it holds; throws after `seconds`. */
async function until(holds: () => Promise<boolean>, seconds: number): Promise<void> {
  for (const deadline = Date.now() + seconds * 1000; !(await holds()); await sleep(500))
    if (Date.now() > deadline) throw new Error(`what was waited for did not come within ${seconds} s`);
}
