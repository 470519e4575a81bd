import { randomUUID } from 'node:crypto';
import { openSlots, type Person, people } from '../../test/support/people.ts';
import { outcomeOf, tally } from '../../test/support/process-client.ts';
import { atInstances } from '../at-instances.ts';
import type { Drill } from '../drill.ts';

const ROUNDS = 100;
/** What a reschedule of one's own booking may come to here. */
const FINE = new Set(['OK', 'SLOT_TAKEN']);

export const oppositeReschedules: Drill = {
  name: 'opposite-reschedules',
  story: 'a hundred times two patients move to each other’s slot, and both to a third one, at once at two instances',
  breaks: [
    {
      file: 'src/booking/reschedule-booking.ts',
      from: '  newSlot.book(now);\n',
      to: '',
      means: 'the new slot stays open',
    },
    {
      file: 'src/booking/reschedule-booking.ts',
      from: '  oldSlot.release(now);\n',
      to: '',
      means: 'the old slot is not given back',
    },
  ],
  run: (stage) =>
    atInstances(stage, 2, async ({ clinic, clients: [left, right] }) => {
      const [doctor] = (await people(clinic, 'DOCTOR', 1)) as [Person];
      const slots = (await openSlots(clinic, doctor.id, { count: 3 })).map(({ id }) => id);
      const patients = (await people(clinic, 'PATIENT', 2)) as [Person, Person];
      const booked: string[] = [];
      for (const [i, patient] of patients.entries()) {
        const request = { requestId: randomUUID(), slotId: slots[i] as string };
        const made = await left?.grpc.booking.bookSlot(request, patient);
        booked.push(made?.booking?.id as string);
      }
      const told: Record<string, number> = {};
      for (let round = 0; round < ROUNDS; round++) {
        const outcomes = await Promise.all(
          patients.flatMap((patient, i) =>
            slots.map((newSlotId, j) =>
              outcomeOf(
                patient,
                (as) =>
                  ((i + j + round) % 2 ? left : right)
                    ?.turn(j)
                    .booking.rescheduleBooking(
                      { requestId: randomUUID(), bookingId: booked[i] as string, newSlotId },
                      as,
                    ) as Promise<unknown>,
              ),
            ),
          ),
        );
        for (const [reason, count] of Object.entries(tally(outcomes))) told[reason] = (told[reason] ?? 0) + count;
      }
      const wrong = Object.keys(told).filter((reason) => !FINE.has(reason));
      if (wrong.length || !told.OK) throw new Error(`reschedules ended as ${JSON.stringify(told)}`);
      return { booked, notes: [JSON.stringify(told)] };
    }),
};
