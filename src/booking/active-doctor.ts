import { sql } from '../db/sql.ts';
import type { Sql } from '../db/statement.ts';
import { type Lock, readRows } from '../db/work.ts';

/**
 * The lock on the doctor with the id `doctorId`, if active; later locks find it as `doctors`. Shared: bookings don't wait for
 * each other, but a suspension waits for them, and they for it. So what it counts as booked is all there will be.
 */
export function activeDoctor(doctorId: Sql): Lock<{ readonly user_id: string }> {
  return readRows(
    (held) => sql`SELECT user_id FROM doctor WHERE user_id = ${doctorId} AND state = 'ACTIVE' AND ${held} FOR SHARE`,
  );
}
