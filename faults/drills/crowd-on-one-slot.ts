import { randomUUID } from 'node:crypto';
import { openSlots, type Person, people } from '../../test/support/people.ts';
import { type BothClients, outcomeOf, tally } from '../../test/support/process-client.ts';
import { atInstances } from '../at-instances.ts';
import type { Drill } from '../drill.ts';

const PATIENTS = 200;
const ROUNDS = 3;
/** The default deadline, and what a busy machine adds. */
const TOLD_MS = 5_500;
const FEW = 10;

export const crowdOnOneSlot: Drill = {
  name: 'crowd-on-one-slot',
  story: 'two hundred patients want one slot at once, at three instances: one wins, the others are told so within 5 s',
  breaks: [
    {
      file: 'src/db/unit-of-work.ts',
      from: 'const WAIT_MS = { slot: 4_000,',
      to: 'const WAIT_MS = { slot: 20,',
      means: 'a crowd is sent away instead of waiting its turn',
    },
    {
      file: 'src/booking/slot-refusals.ts',
      from: "return new Fault('SLOT_TAKEN', 'the slot is taken', {",
      to: "return new Fault('SLOT_NOT_FOUND', 'no such slot', {",
      means: 'losers are told something else',
    },
  ],
  run: (stage) =>
    atInstances(stage, 3, async ({ clinic, clients }) => {
      const [doctor] = (await people(clinic, 'DOCTOR', 1)) as [Person];
      const slots = await openSlots(clinic, doctor.id, { count: ROUNDS });
      const patients = await people(clinic, 'PATIENT', PATIENTS);
      const booked: string[] = [];
      let slowestMs = 0;
      for (const { id: slotId } of slots) {
        const startedAt = performance.now();
        const firstWords = await Promise.all(patients.map((patient, i) => ask(clients, i, patient, slotId)));
        slowestMs = Math.max(slowestMs, performance.now() - startedAt);
        const told = tally(firstWords);
        const contended = told.CONTENTION ?? 0; // a busy machine may need more than their turn's 4 s
        if (told.OK !== 1 || (told.SLOT_TAKEN ?? 0) + contended !== PATIENTS - 1 || contended > FEW)
          throw new Error(`not one winner, or not told so: ${JSON.stringify(told)}`);
        booked.push(...firstWords.flatMap(({ answer }) => answer?.booking?.id ?? []));
      }
      if (slowestMs > TOLD_MS) throw new Error(`the last was told after ${slowestMs.toFixed(0)} ms`);
      return { booked, notes: [`the last of ${PATIENTS} was told after ${slowestMs.toFixed(0)} ms at most`] };
    }),
};

function ask(clients: readonly BothClients[], i: number, patient: Person, slotId: string) {
  const { booking } = (clients[i % clients.length] as BothClients).turn(Math.floor(i / clients.length));
  return outcomeOf(patient, (as) => booking.bookSlot({ requestId: randomUUID(), slotId }, as));
}
