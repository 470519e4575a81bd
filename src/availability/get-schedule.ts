import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import { Fault } from '../fault.ts';
import { Schedule } from './schedule.entity.ts';

/** One schedule of the doctor. Throws SCHEDULE_NOT_FOUND. */
export async function getSchedule(em: EntityManager, scheduleId: string, doctorId: string): Promise<Schedule> {
  const found = await row<object>(
    em,
    sql`SELECT * FROM schedule WHERE id = ${scheduleId} AND doctor_id = ${doctorId} AND state = 'ACTIVE'`,
  );
  if (!found) throw new Fault('SCHEDULE_NOT_FOUND', 'no such schedule');
  return em.map(Schedule, found);
}
