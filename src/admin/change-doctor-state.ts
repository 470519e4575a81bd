import type { User } from '../auth/user.entity.ts';
import { userLock } from '../auth/user-lock.ts';
import { Doctor } from '../availability/doctor.entity.ts';
import { resumeSchedules } from '../availability/resume-schedules.ts';
import { sql } from '../db/sql.ts';
import { lockRows, type Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { upcomingBookings } from './upcoming-bookings.ts';

/**
 * Lets a doctor publish and be booked, and has schedules make their next slots; lifts a suspension too. Answers the confirmed bookings ahead. Throws DOCTOR_NOT_FOUND,
 * and ACCOUNT_SUSPENDED while the doctor can't sign in.
 */
export function approveDoctor(work: Work, doctorId: string): Promise<number> {
  return changeDoctor(work, doctorId, async (doctor, user, now) => {
    if (user.state === 'SUSPENDED')
      throw new Fault('ACCOUNT_SUSPENDED', "the doctor's account is suspended: reinstate it first");
    doctor.approve(now);
    await resumeSchedules(work, doctorId, now);
  });
}

/** Hides a doctor and the doctor's slots. Answers the confirmed bookings ahead, which stay. Throws DOCTOR_NOT_FOUND. */
export function suspendDoctor(work: Work, doctorId: string): Promise<number> {
  return changeDoctor(work, doctorId, async (doctor, _, now) => doctor.suspend(now));
}

async function changeDoctor(
  work: Work,
  doctorId: string,
  change: (doctor: Doctor, user: User, now: Date) => Promise<void>,
): Promise<number> {
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
  await change(doctor, user, now);
  return upcomingBookings(work.em, doctorId, now);
}
