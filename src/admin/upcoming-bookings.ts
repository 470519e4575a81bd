import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';

/** How many confirmed bookings of the person, as doctor or as patient, start after `now`. */
export async function upcomingBookings(em: EntityManager, userId: string, now: Date): Promise<number> {
  const ahead = sql`FROM booking WHERE start_at > ${now} AND state = 'CONFIRMED'`;
  const found = await row<{ count: number }>(
    em,
    sql`SELECT (SELECT count(*) ${ahead} AND doctor_id = ${userId}) + (SELECT count(*) ${ahead} AND patient_id = ${userId}) AS count`,
  );
  return found?.count ?? 0;
}
