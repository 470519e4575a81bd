import type { EntityManager } from '@mikro-orm/postgresql';
import { Slot } from '../availability/slot.entity.ts';
import { sql } from '../db/sql.ts';
import { row, type Sql } from '../db/statement.ts';
import { StartOver } from '../db/transaction.ts';
import { type Lock, readRows } from '../db/work.ts';
import { Fault } from '../fault.ts';
import type { Booking } from './booking.entity.ts';
import { slotAlternatives } from './message.ts';

/** A slot that is not open, as it was read, and the open ones nearest to it. */
interface Wanted {
  readonly wanted: object;
  readonly others: object[];
}

/**
 * The slot and the open ones nearest to it, if it is taken already, for `whyTaken`. Read in the statement that locks, so that
 * the late ones of a crowd need one statement less.
 */
export function alreadyTaken(slotId: string): Lock<Wanted> {
  return readRows((held) => sql`${wantedSlot(slotId, sql`clock_timestamp()`)} AND wanted.state <> 'OPEN' AND ${held}`);
}

/** SLOT_TAKEN as `alreadyTaken` read it; undefined when that says too little. It was so during the call: that it is over by now changes nothing. */
export function whyTaken(em: EntityManager, found: Wanted | undefined, now: Date): Fault | undefined {
  if (!found || em.map(Slot, found.wanted).hasBegun(now)) return undefined;
  const others = found.others.map((other) => em.map(Slot, other));
  return others.some((other) => other.hasBegun(now)) ? undefined : slotTaken(others);
}

/**
 * Why a slot that the locking read didn't find open can't be booked, read afresh: SLOT_NOT_FOUND, SLOT_IN_PAST, or SLOT_TAKEN
 * with up to three open slots of the same doctor, nearest first, read without a lock. With `doctorId`, another doctor's
 * slot is not found. Throws StartOver when the slot is open by now. One statement: most of a crowd on one slot comes by here.
 */
export async function whyNotOpen(
  em: EntityManager,
  slotId: string,
  { now, doctorId }: { now: Date; doctorId?: string },
): Promise<Fault> {
  const found = await row<Wanted>(em, wantedSlot(slotId, sql`${now}::timestamptz`));
  const wanted = found && em.map(Slot, found.wanted);
  if (!wanted || (doctorId && wanted.doctorId !== doctorId)) return new Fault('SLOT_NOT_FOUND', 'no such slot');
  if (wanted.hasBegun(now)) return slotInPast();
  // Freed, or its doctor approved, while this waited for its locks: then nobody has it, and another try may.
  if (wanted.state === 'OPEN') throw new StartOver('the slot has become open');
  return slotTaken(found.others.map((other) => em.map(Slot, other)));
}

function slotTaken(others: readonly Slot[]): Fault {
  return new Fault('SLOT_TAKEN', 'the slot is taken', { details: [slotAlternatives(others)] });
}

/** The slot `wanted` of an active doctor, unless withdrawn, with the three open ones `others`. */
function wantedSlot(slotId: string, now: Sql): Sql {
  return sql`SELECT to_jsonb(wanted) AS wanted, coalesce((SELECT jsonb_agg(near ORDER BY distance, start_at) FROM (${nearest(now)}) near), '[]') AS others
    FROM slot wanted JOIN doctor ON doctor.user_id = wanted.doctor_id
    WHERE wanted.id = ${slotId} AND doctor.state = 'ACTIVE' AND wanted.state <> 'WITHDRAWN'`;
}

/** The three open slots that start nearest to the slot `wanted`, found by two short ranges of an index. */
function nearest(now: Sql): Sql {
  const open = sql`SELECT id, doctor_id, start_at, end_at, state, created_at, updated_at, greatest(start_at - wanted.start_at, wanted.start_at - start_at) AS distance
    FROM slot WHERE doctor_id = wanted.doctor_id AND state = 'OPEN' AND id <> wanted.id AND start_at > ${now}`;
  return sql`SELECT * FROM (
      (${open} AND start_at >= wanted.start_at ORDER BY start_at LIMIT 3)
      UNION ALL (${open} AND start_at < wanted.start_at ORDER BY start_at DESC LIMIT 3)) both_sides
    ORDER BY distance, start_at LIMIT 3`;
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
