import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ENDINGS, type Ending, type Member, member } from '../../test/support/ended-sessions.ts';
import { openSlots, person } from '../../test/support/people.ts';
import { type Clients, clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import type { Drill } from '../drill.ts';

/** Milliseconds that the contract gives reads; a call that begins within them may still be answered. */
const READS_MS = 5_000;
/** People for each way in which a session ends. */
const EACH = 2;

/** Somebody whose session is going to end, and the two instances that are asked. */
interface Watched {
  readonly somebody: Member;
  readonly pair: readonly [here: Clients, there: Clients];
}

/** What became of one of them. */
interface Ended {
  /** Milliseconds until no instance served a read any more. */
  readonly readsMs: number;
}

export const revokedEverywhere: Drill = {
  name: 'revoked-everywhere',
  story:
    'sessions end in every way at one instance, while their owners read and write at the other, five times a second',
  breaks: [
    {
      file: 'src/auth/live-sessions.ts',
      from: 'const TRUSTED_MS = 2_000;',
      to: 'const TRUSTED_MS = 60_000;',
      means: 'a session that was found alive is believed for a minute',
    },
    {
      file: 'src/db/first-statement.ts',
      from: 'if (call.caller) checkCaller(call.caller, first);',
      to: '',
      means: 'a write does not ask whether the caller may still',
    },
    {
      file: 'src/db/caller-standing.ts',
      from: 'if (user_role !== role)',
      to: 'if (user_role === undefined)',
      means: 'the role is believed as long as the token lives',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    try {
      const [one, other] = [clientsOf(await clinic.start()), clientsOf(await clinic.start())];
      const pairs = Array.from({ length: EACH }, (_, i) => [one.turn(i), other.turn(i)] as const);
      const people: Member[] = [];
      for (let i = 0; i < EACH * ENDINGS.length; i += 1) people.push(await member({ clients: one.grpc }));
      const ways = ENDINGS.map(async (ending) => {
        const all = await Promise.all(
          pairs.map((pair) => watch(clinic, ending, { pair, somebody: people.pop() as Member })),
        );
        const slowest = Math.max(...all.map(({ readsMs }) => readsMs));
        stage.say(`${ending.what}: writes at once, reads after ${slowest.toFixed(0)} ms`);
        return all;
      });
      const ended = (await Promise.all(ways)).flat();
      const slowest = Math.max(...ended.map(({ readsMs }) => readsMs));
      return {
        acknowledged: ended.length,
        lost: 0,
        doubled: 0,
        notes: [`no read later than ${slowest.toFixed(0)} ms`],
      };
    } finally {
      await clinic.close();
    }
  },
};

/** Ends the session of somebody who reads all the time, and looks for how long that goes on. */
async function watch(
  clinic: Clinic,
  { what, reason, end }: Ending,
  { pair: [here, there], somebody }: Watched,
): Promise<Ended> {
  const { headers } = somebody;
  const read = async (clients: Clients) =>
    (await outcomeOf({ headers }, (as) => clients.auth.getCurrentUser({}, as))).reason;
  const slotId = await slotIn(clinic);
  if ((await read(there)) !== 'OK' || (await read(here)) !== 'OK') throw new Error('a new session was refused');
  await end({ clients: here, backstage: clinic }, somebody);
  const endedAt = performance.now();
  for (const told of await writes(there, somebody, slotId))
    if (told !== reason) throw new Error(`${what}: a write was told ${told}, not ${reason}`);
  let refusedSince: number | undefined;
  while (performance.now() - endedAt < READS_MS + 1_000) {
    const askedAt = performance.now();
    const told = [await read(there), await read(here)];
    if (told.some((one) => one !== 'OK' && one !== reason)) throw new Error(`${what}: a read was told ${told}`);
    if (told.includes('OK')) {
      if (askedAt - endedAt > READS_MS)
        throw new Error(`${what}: a read was served ${(askedAt - endedAt).toFixed(0)} ms later`);
      if (refusedSince !== undefined) throw new Error(`${what}: a read was served after others had been refused`);
    } else refusedSince ??= askedAt;
    await sleep(200);
  }
  return { readsMs: (refusedSince ?? Number.NaN) - endedAt };
}

async function writes(clients: Clients, { headers }: Member, slotId: string): Promise<string[]> {
  const book = { requestId: randomUUID(), slotId, reasonForVisit: 'a rash' };
  const outcomes = await Promise.all([
    outcomeOf({ headers }, (as) => clients.booking.bookSlot(book, as)),
    outcomeOf({ headers }, (as) => clients.auth.updateCurrentUser({ displayName: 'Another' }, as)),
    outcomeOf({ headers }, (as) => clients.auth.revokeSession({ sessionId: randomUUID() }, as)),
  ]);
  return outcomes.map(({ reason }) => reason);
}

async function slotIn(clinic: Clinic): Promise<string> {
  const doctor = await person(clinic, 'DOCTOR');
  const [slot] = await openSlots(clinic, doctor.id);
  if (!slot) throw new Error('no slot was opened');
  return slot.id;
}
