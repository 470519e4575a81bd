import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import type { Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { loadOffers } from './load-offers.ts';
import { callingDoctor } from './own-agenda.ts';
import type { DayWindow } from './schedule.entity.ts';
import { ScheduleException } from './schedule-exception.entity.ts';
import { checkLimits } from './schedule-limits.ts';
import { type SlotChanges, settleSlots } from './settle-slots.ts';

/** What AddException asks for. */
export interface AddException {
  readonly doctorId: string;
  /** ISO 8601, as `2026-12-24`. */
  readonly date: string;
  readonly windows: readonly DayWindow[];
}

/**
 * Closes a date for the doctor's schedules, or gives it other windows, and takes open slots back that fit no more. Throws
 * EXCEPTION_EXISTS, SCHEDULE_LIMIT, FIELD_INVALID.
 */
export async function addException(
  work: Work,
  { doctorId, date, windows }: AddException,
): Promise<{ exception: ScheduleException; changes: SlotChanges }> {
  work.about({ entityType: 'doctor', entityId: doctorId });
  const {
    doctors: [doctor],
    now,
  } = await work.lock({ doctors: callingDoctor(doctorId) });
  const exception = ScheduleException.add(doctorId, { date, windows }, now);
  const existing = await row<{ id: string }>(
    work.em,
    sql`SELECT id FROM schedule_exception WHERE doctor_id = ${doctorId} AND date = ${date}`,
  );
  if (existing)
    throw new Fault('EXCEPTION_EXISTS', 'the date has an exception already: remove it first', {
      metadata: { exception_id: existing.id },
    });
  const { schedules, exceptions } = await loadOffers(work.em, doctorId);
  checkLimits(schedules, new Map([...exceptions, [date, windows]]));
  work.em.persist(exception);
  work.about({ entityType: 'exception', entityId: exception.id });
  return { exception, changes: await settleSlots(work, { doctorId, active: doctor?.state === 'ACTIVE', now }) };
}
