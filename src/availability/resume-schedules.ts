import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import type { Work } from '../db/work.ts';
import { settleSlots } from './settle-slots.ts';

/** Has the schedules of a doctor who has just become active make their next slots; nothing may be refused afterwards. */
export async function resumeSchedules(work: Work, doctorId: string, now: Date): Promise<void> {
  const prepared = await row(
    work.em,
    sql`SELECT FROM schedule WHERE doctor_id = ${doctorId} AND state = 'ACTIVE' LIMIT 1`,
  );
  if (prepared) await settleSlots(work, { doctorId, active: true, now });
}
