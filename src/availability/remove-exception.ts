import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import type { Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { callingDoctor } from './own-agenda.ts';
import { type SlotChanges, settleSlots } from './settle-slots.ts';

/** Gives a date back to the doctor's schedules. Throws EXCEPTION_NOT_FOUND. */
export async function removeException(work: Work, exceptionId: string, doctorId: string): Promise<SlotChanges> {
  work.about({ entityType: 'exception', entityId: exceptionId });
  const {
    doctors: [doctor],
    now,
  } = await work.lock({ doctors: callingDoctor(doctorId) });
  const removed = await row(
    work.em,
    sql`DELETE FROM schedule_exception WHERE id = ${exceptionId} AND doctor_id = ${doctorId} RETURNING 1`,
  );
  if (!removed) throw new Fault('EXCEPTION_NOT_FOUND', 'no such exception');
  return settleSlots(work, { doctorId, active: doctor?.state === 'ACTIVE', now });
}
