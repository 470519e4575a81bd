import type { Subject, Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { beginSession, type SignedIn } from './signed-in.ts';
import type { User } from './user.entity.ts';
import { userLock } from './user-lock.ts';

/** What a comparison, made before and outside the transaction, has found. */
export interface Credentials {
  readonly userId: string;
  /** The kept hash that the password was compared with. */
  readonly passwordHash: string;
  readonly matches: boolean;
  /** The same password hashed with today's parameters, when the kept hash has others. */
  readonly rehashed?: string | undefined;
}

/**
 * Begins a session, or counts a wrong password. Refuses - and keeps the count - with CREDENTIALS_INVALID or
 * ACCOUNT_SUSPENDED. While tries wait after wrong ones, the right password gets the same answer as a wrong one.
 */
export async function logIn(work: Work, credentials: Credentials): Promise<SignedIn | Fault> {
  const {
    users: [user],
    now,
  } = await work.lock({ users: userLock(credentials.userId) });
  const refused = user ? checkPassword(work, user, { ...credentials, now }) : credentialsInvalid();
  if (!user || refused) return refused ?? credentialsInvalid();
  if (user.state === 'SUSPENDED') return new Fault('ACCOUNT_SUSPENDED', 'the account is suspended');
  return beginSession(work, user, now);
}

/** Counts a right or wrong password of a locked account; answers the refusal. Tries that had to wait leave no trace. */
export function checkPassword(
  work: Work,
  user: User,
  { passwordHash, matches, rehashed, now }: Credentials & { now: Date },
): Fault | undefined {
  if (user.signInBlocked(now)) return credentialsInvalid();
  work.about({ ...aboutAccount(user), actor: { userId: user.id, role: user.role } });
  if (user.passwordHash !== passwordHash) throw new Fault('CONTENTION', 'the password was changed at the same time');
  if (!matches) {
    user.signInFailed(now);
    return credentialsInvalid();
  }
  user.signInSucceeded();
  if (rehashed) user.changePassword(rehashed, now);
  return undefined;
}

/** An account as the subject of a record; a patient's is patient data. */
export function aboutAccount({ id, role }: Pick<User, 'id' | 'role'>): Subject {
  return { entityType: 'user', entityId: id, ...(role === 'PATIENT' && { patientId: id }) };
}

export function credentialsInvalid(): Fault {
  return new Fault('CREDENTIALS_INVALID', 'the e-mail address or the password is wrong');
}
