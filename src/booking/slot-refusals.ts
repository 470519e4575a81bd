import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { Slot } from '../availability/slot.entity.ts';
import { row, rows } from '../db/statement.ts';
import { Fault } from '../fault.ts';
import type { Booking } from './booking.entity.ts';
import { slotAlternatives } from './message.ts';

/**
 * Why a slot that the locking read didn't find open can't be booked, read afresh: SLOT_NOT_FOUND, SLOT_IN_PAST or SLOT_TAKEN.
 * With `doctorId`, another doctor's slot is not found.
 */
export async function whyNotOpen(
  em: EntityManager,
  slotId: string,
  { now, doctorId }: { now: Date; doctorId?: string },
): Promise<Fault> {
  const found = await row<object>(
    em,
    sql`SELECT slot.* FROM slot JOIN doctor ON doctor.user_id = slot.doctor_id
        WHERE slot.id = ${slotId} AND doctor.state = 'ACTIVE' AND slot.state <> 'WITHDRAWN'`,
  );
  const slot = found && em.map(Slot, found);
  if (!slot || (doctorId && slot.doctorId !== doctorId)) return new Fault('SLOT_NOT_FOUND', 'no such slot');
  if (slot.hasBegun(now)) return slotInPast();
  return slotTaken(em, slot, now);
}

/** SLOT_TAKEN, with up to three open slots of the same doctor, nearest first, read without a lock. */
export async function slotTaken(
  em: EntityManager,
  wanted: Pick<Slot, 'id' | 'doctorId' | 'startAt'>,
  now: Date,
): Promise<Fault> {
  const { id, doctorId, startAt } = wanted;
  const open = sql`SELECT * FROM slot WHERE doctor_id = ${doctorId} AND state = 'OPEN' AND id <> ${id} AND start_at > ${now}`;
  const found = await rows<object>(
    em,
    sql`SELECT * FROM (
          (${open} AND start_at >= ${startAt} ORDER BY start_at LIMIT 3)
          UNION ALL (${open} AND start_at < ${startAt} ORDER BY start_at DESC LIMIT 3)) near
        ORDER BY greatest(start_at - ${startAt}, ${startAt} - start_at), start_at LIMIT 3`,
  );
  return new Fault('SLOT_TAKEN', 'the slot is taken', {
    details: [slotAlternatives(found.map((data) => em.map(Slot, data)))],
  });
}

export function slotInPast(): Fault {
  return new Fault('SLOT_IN_PAST', 'the slot has begun');
}

/** Whether the patient has another active booking at the time of `booking`. */
export async function patientIsBusy(
  em: EntityManager,
  { id, patientId, startAt, endAt }: Pick<Booking, 'id' | 'patientId' | 'startAt' | 'endAt'>,
): Promise<boolean> {
  const other = await row(
    em,
    sql`SELECT 1 FROM booking WHERE patient_id = ${patientId} AND id <> ${id} AND state IN ('CONFIRMED', 'CHECKED_IN', 'IN_PROGRESS')
          AND tstzrange(start_at, end_at) && tstzrange(${startAt}, ${endAt})`,
  );
  return other !== undefined;
}

export function patientBusy(): Fault {
  return new Fault('PATIENT_BUSY', 'the patient has another appointment at that time');
}
