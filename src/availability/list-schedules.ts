import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { allOf, rows } from '../db/statement.ts';
import { type Page, type PageAsk, pageOf } from '../page.ts';
import { Schedule } from './schedule.entity.ts';

/** Place in the listing: the id, which ascends in the order of creation. */
export type ScheduleCursor = readonly [id: string];

/** The doctor's schedules, the oldest first. */
export async function listSchedules(
  em: EntityManager,
  doctorId: string,
  page: PageAsk<ScheduleCursor>,
): Promise<Page<Schedule, ScheduleCursor>> {
  const found = await rows<object>(
    em,
    sql`SELECT * FROM schedule WHERE ${allOf([
      sql`doctor_id = ${doctorId}`,
      sql`state = 'ACTIVE'`,
      page.after && sql`id > ${page.after[0]}`,
    ])} ORDER BY id LIMIT ${page.size + 1}`,
  );
  const schedules = found.map((data) => em.map(Schedule, data));
  return pageOf(schedules, page.size, ({ id }): ScheduleCursor => [id]);
}
