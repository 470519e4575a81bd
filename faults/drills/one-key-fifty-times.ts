import { randomUUID } from 'node:crypto';
import { openSlots, type Person, people } from '../../test/support/people.ts';
import { type BothClients, outcomeOf, tally } from '../../test/support/process-client.ts';
import { atInstances } from '../at-instances.ts';
import type { Drill } from '../drill.ts';

const ROUNDS = 10;
const TIMES = 50;

export const oneKeyFiftyTimes: Drill = {
  name: 'one-key-fifty-times',
  story: 'the same BookSlot with the same request_id fifty times at once, across three instances, ten times',
  breaks: [
    {
      file: 'src/db/attempt-once.ts',
      from: 'return { requestId: request.requestId, fingerprint:',
      to: 'return { requestId: crypto.randomUUID(), fingerprint:',
      means: 'each try counts as a request of its own',
    },
  ],
  run: (stage) =>
    atInstances(stage, 3, async ({ clinic, clients }) => {
      const [doctor] = (await people(clinic, 'DOCTOR', 1)) as [Person];
      const slots = await openSlots(clinic, doctor.id, { count: ROUNDS });
      const [patient] = (await people(clinic, 'PATIENT', 1)) as [Person];
      const booked: string[] = [];
      const ended: string[] = [];
      for (const { id: slotId } of slots) {
        const outcomes = await fiftyTimes(clients, patient, slotId);
        const ids = new Set(outcomes.map(({ answer }) => answer?.booking?.id));
        const first = outcomes.filter(({ reason, replayed }) => reason === 'OK' && !replayed).length;
        const [id] = ids;
        if (ids.size !== 1 || id === undefined || first !== 1)
          throw new Error(`${ids.size} different answers, ${first} first ones: ${JSON.stringify(tally(outcomes))}`);
        booked.push(id);
        ended.push(...outcomes.map(({ reason }) => reason));
      }
      return { booked, notes: [`${ended.length} answers, all the same in each of ${ROUNDS} rounds`] };
    }),
};

function fiftyTimes(clients: readonly BothClients[], patient: Person, slotId: string) {
  const request = { requestId: randomUUID(), slotId, reasonForVisit: 'a cough' };
  const calls = Array.from({ length: TIMES }, async (_, i) => {
    const { booking } = (clients[i % clients.length] as BothClients).turn(Math.floor(i / clients.length));
    for (;;) {
      const outcome = await outcomeOf(patient, (as) => booking.bookSlot(request, as));
      if (outcome.reason !== 'IN_PROGRESS') return outcome;
    }
  });
  return Promise.all(calls);
}
