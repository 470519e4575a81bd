import { sql } from 'kysely';
import { Doctor } from '../availability/doctor.entity.ts';
import type { Sql } from '../db/statement.ts';
import { type Lock, lockRows } from '../db/work.ts';

/**
 * The lock on the doctor with the id `doctorId`, if active; later locks find it as `doctors`. Shared: bookings don't wait for
 * each other, but a suspension waits for them, and they for it. So what it counts as booked is all there will be.
 */
export function activeDoctor(doctorId: Sql): Lock<Doctor> {
  return lockRows(
    Doctor,
    (held) => sql`SELECT * FROM doctor WHERE user_id = ${doctorId} AND state = 'ACTIVE' AND ${held} FOR SHARE`,
  );
}
