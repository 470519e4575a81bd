import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import { lockRows, type Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { Doctor } from './doctor.entity.ts';
import { Slot, type SlotTimes } from './slot.entity.ts';

/**
 * Publishes open slots of an active doctor, all of them or none; answers them in the order asked. The doctor's own row is
 * locked first, so that two batches can't cross. Throws DOCTOR_NOT_APPROVED, SLOT_IN_PAST, SLOT_OVERLAP, FIELD_INVALID.
 */
export async function publishSlots(work: Work, doctorId: string, times: readonly SlotTimes[]): Promise<Slot[]> {
  work.about({ entityType: 'doctor', entityId: doctorId });
  const {
    doctors: [doctor],
    now,
  } = await work.lock({
    doctors: lockRows(Doctor, (held) => sql`SELECT * FROM doctor WHERE user_id = ${doctorId} AND ${held} FOR SHARE`),
  });
  if (doctor?.state !== 'ACTIVE')
    throw new Fault('DOCTOR_NOT_APPROVED', 'an administrator has not approved this doctor');
  const slots = times.map((time, i) => Slot.open(doctorId, time, { field: `slots[${i}]`, now }));
  const overlapping = overlapWithin(slots) ?? (await overlapWithPublished(work, doctorId, slots));
  if (overlapping !== undefined) {
    throw new Fault('SLOT_OVERLAP', `slots[${overlapping}] overlaps another slot`, {
      metadata: { index: String(overlapping) },
    });
  }
  for (const slot of slots) work.em.persist(slot);
  return slots;
}

/** Index of a slot that overlaps an earlier-starting one of the same batch. */
function overlapWithin(slots: readonly Slot[]): number | undefined {
  const order = slots
    .map((slot, index) => ({ slot, index }))
    .sort((a, b) => a.slot.startAt.getTime() - b.slot.startAt.getTime());
  return order.find(({ slot }, i) => i > 0 && slot.startAt < (order[i - 1] as (typeof order)[number]).slot.endAt)
    ?.index;
}

/**
 * Index of the first slot that overlaps one that the doctor has published before. No slot is longer than eight hours, so a short
 * range of an index holds all that may; as a question of ranges it was put to every slot of the doctor (500 slots beside 10,000:
 * 600 ms).
 */
async function overlapWithPublished(
  { em }: Work,
  doctorId: string,
  slots: readonly Slot[],
): Promise<number | undefined> {
  const found = await row<{ index: number }>(
    em,
    sql`SELECT asked.place::integer - 1 AS index
        FROM unnest(${slots.map(({ startAt }) => startAt)}::timestamptz[], ${slots.map(({ endAt }) => endAt)}::timestamptz[])
          WITH ORDINALITY AS asked (start_at, end_at, place)
        CROSS JOIN LATERAL (SELECT FROM slot WHERE doctor_id = ${doctorId} AND live AND slot.end_at > asked.start_at
          AND slot.start_at > asked.start_at - interval '8 hours' AND slot.start_at < asked.end_at LIMIT 1) overlapping
        ORDER BY asked.place LIMIT 1`,
  );
  return found?.index;
}
