import { randomUUID } from 'node:crypto';
import { BookingService } from '../gen/amrutam/booking/v1/booking_pb.ts';
import { sql } from '../src/db/sql.ts';
import { forkFor, rows } from '../src/db/statement.ts';
import { type Person, people } from '../test/support/people.ts';
import type { Clinic } from './clinic.ts';
import type { Planned } from './open-load.ts';

/** Slots of each doctor: from an hour or two ahead, one after the other, 5 minutes each. */
const EACH = 1_000;
/** Of each doctor with one statement. */
const BATCH = 50;

/** Calls of BookSlot that have nothing to do with each other but the instance: each another slot, patients in turn. */
export interface DistinctBookings {
  readonly patients: readonly Person[];
  /** The next one. Throws when the slots are used up. */
  plan(): Planned;
  /** A slot that no planned call wants. */
  spareSlot(): string;
}

/** Makes patients, doctors and `doctors` times a thousand open slots. */
export async function distinctBookings(
  clinic: Clinic,
  { patients: count, doctors }: { readonly patients: number; readonly doctors: number },
): Promise<DistinctBookings> {
  const patients = await people(clinic, 'PATIENT', count);
  await people(clinic, 'DOCTOR', doctors);
  const slots: string[] = [];
  for (let from = 0; from < EACH; from += BATCH) slots.push(...(await openSlots(clinic, from)));
  let next = 0;
  let spare = slots.length;
  return {
    patients,
    plan() {
      const [slotId, patient] = [slots[next], patients[next % count]];
      next += 1;
      if (!slotId || !patient || next > spare) throw new Error('the slots were too few for this drill');
      const message = { requestId: randomUUID(), slotId, reasonForVisit: 'a cough' };
      return { method: BookingService.method.bookSlot, message, headers: patient.headers };
    },
    spareSlot() {
      spare -= 1;
      return slots[spare] ?? '';
    },
  };
}

/** Ids of the slots `from` and the following of every doctor, in the order of their times. */
async function openSlots({ orm }: Clinic, from: number): Promise<string[]> {
  const made = await rows<{ id: string }>(
    forkFor(orm),
    sql`INSERT INTO slot (id, doctor_id, start_at, end_at, state, created_at, updated_at)
        SELECT gen_random_uuid(), user_id, first + i * interval '5 min', first + (i + 1) * interval '5 min', 'OPEN', now(), now()
        FROM generate_series(${from}::integer, ${from + BATCH - 1}::integer) i, doctor, (SELECT date_trunc('hour', now()) + interval '2 h' AS first) f
        ORDER BY i RETURNING id`,
  );
  return made.map(({ id }) => id);
}
