import { sql } from '../db/sql.ts';
import { type Lock, lockRows } from '../db/work.ts';
import { Doctor } from './doctor.entity.ts';
import { Schedule } from './schedule.entity.ts';

/**
 * The lock on the calling doctor, whose user row is locked already, as everybody does who changes schedules or makes slots.
 * Shared: a suspension waits for it, bookings don't.
 */
export function callingDoctor(doctorId: string): Lock<Doctor> {
  return lockRows(Doctor, (held) => sql`SELECT * FROM doctor WHERE user_id = ${doctorId} AND ${held} FOR SHARE`);
}

/** The lock on a schedule of the doctor that isn't deleted. */
export function ownSchedule(scheduleId: string, doctorId: string): Lock<Schedule> {
  return lockRows(
    Schedule,
    (held) =>
      sql`SELECT * FROM schedule WHERE id = ${scheduleId} AND doctor_id = ${doctorId} AND state = 'ACTIVE' AND ${held} FOR UPDATE`,
  );
}
