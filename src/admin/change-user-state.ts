import { endAllSessions } from '../auth/end-sessions.ts';
import { userLock } from '../auth/user-lock.ts';
import { Doctor } from '../availability/doctor.entity.ts';
import { sql } from '../db/sql.ts';
import { lockRows, type Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import type { ManagedUser } from './managed-user.ts';
import { upcomingBookings } from './upcoming-bookings.ts';

/** Suspends an account, ends its sessions and, of a doctor, the approval. Answers the confirmed bookings ahead, which stay. Throws USER_NOT_FOUND. */
export async function suspendUser(work: Work, userId: string): Promise<{ user: ManagedUser; upcoming: number }> {
  const { user, doctor, now } = await lockUser(work, userId);
  user.suspend(now);
  doctor?.suspend(now);
  await endAllSessions(work, userId, { now });
  return { user: managed(user, doctor), upcoming: await upcomingBookings(work.em, userId, now) };
}

/** Lets a suspended account sign in again; a doctor needs a new approval. Throws USER_NOT_FOUND. */
export async function reinstateUser(work: Work, userId: string): Promise<ManagedUser> {
  const { user, doctor, now } = await lockUser(work, userId);
  user.reinstate(now);
  return managed(user, doctor);
}

async function lockUser(work: Work, userId: string) {
  work.about({ entityType: 'user', entityId: userId });
  const {
    users: [user],
    doctors: [doctor],
    now,
  } = await work.lock({
    users: userLock(userId),
    doctors: lockRows(
      Doctor,
      () => sql`SELECT * FROM doctor WHERE user_id = ANY (ARRAY(SELECT id FROM users)) FOR NO KEY UPDATE`,
    ),
  });
  if (!user) throw new Fault('USER_NOT_FOUND', 'no such user');
  if (user.role === 'PATIENT') work.about({ patientId: userId });
  return { user, doctor, now };
}

function managed(user: Awaited<ReturnType<typeof lockUser>>['user'], doctor: Doctor | undefined): ManagedUser {
  return {
    id: user.id,
    email: user.email,
    display_name: user.displayName,
    role: user.role,
    state: user.state,
    doctor_state: doctor?.state ?? null,
    time_zone: user.timeZone,
    created_at: user.createdAt,
  };
}
