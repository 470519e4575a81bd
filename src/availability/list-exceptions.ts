import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { allOf, rows } from '../db/statement.ts';
import { type Page, type PageAsk, pageOf } from '../page.ts';
import { ScheduleException } from './schedule-exception.entity.ts';

/** What ListExceptions asks for; dates are ISO 8601, empty ones don't count. */
export interface ExceptionListing {
  readonly fromDate: string;
  readonly untilDate: string;
}

/** Place in the listing: the date, of which there is one. */
export type ExceptionCursor = readonly [date: string];

/** The doctor's exceptions by date. */
export async function listExceptions(
  em: EntityManager,
  { doctorId, fromDate, untilDate }: ExceptionListing & { readonly doctorId: string },
  page: PageAsk<ExceptionCursor>,
): Promise<Page<ScheduleException, ExceptionCursor>> {
  const found = await rows<object>(
    em,
    sql`SELECT * FROM schedule_exception WHERE ${allOf([
      sql`doctor_id = ${doctorId}`,
      fromDate !== '' && sql`date >= ${fromDate}`,
      untilDate !== '' && sql`date < ${untilDate}`,
      page.after && sql`date > ${page.after[0]}`,
    ])} ORDER BY date LIMIT ${page.size + 1}`,
  );
  const exceptions = found.map((data) => em.map(ScheduleException, data));
  return pageOf(exceptions, page.size, ({ date }): ExceptionCursor => [date]);
}
