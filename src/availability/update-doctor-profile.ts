import { userLock } from '../auth/user-lock.ts';
import { sql } from '../db/sql.ts';
import { lockRows, type Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { Doctor, type Profile } from './doctor.entity.ts';

/** Changes to a doctor's profile; absent parts stay. `timeZone` is an IANA name that was checked. */
export interface ProfileChanges extends Partial<Profile> {
  readonly displayName?: string;
  readonly timeZone?: string;
}

/** Changes the doctor's own profile. Throws DOCTOR_NOT_FOUND. */
export async function updateDoctorProfile(work: Work, doctorId: string, changes: ProfileChanges): Promise<void> {
  work.about({ entityType: 'doctor', entityId: doctorId });
  const {
    users: [user],
    doctors: [doctor],
    now,
  } = await work.lock({
    users: userLock(doctorId),
    doctors: lockRows(
      Doctor,
      (held) => sql`SELECT * FROM doctor WHERE user_id = ${doctorId} AND ${held} FOR NO KEY UPDATE`,
    ),
  });
  if (!user || !doctor) throw new Fault('DOCTOR_NOT_FOUND', 'no such doctor');
  const { displayName, timeZone, ...profile } = changes;
  if (displayName !== undefined) user.rename(displayName, now);
  if (timeZone !== undefined) user.moveTo(timeZone, now);
  if (Object.keys(profile).length) doctor.describe(profile, now);
}
