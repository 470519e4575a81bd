import type { Subject, Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { findPlace } from './find-account.ts';
import { beginSession, newPlace, type SignedIn } from './signed-in.ts';
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
 * ACCOUNT_SUSPENDED. While tries from a place wait after wrong ones, the right password gets the same answer as a wrong one.
 */
export async function logIn(work: Work, credentials: Credentials): Promise<SignedIn | Fault> {
  const checked = await checkPassword(work, credentials);
  if (checked instanceof Fault) return checked;
  const { user, now } = checked;
  if (user.state === 'SUSPENDED') return new Fault('ACCOUNT_SUSPENDED', 'the account is suspended');
  return beginSession(work, user, now);
}

/** A locked account whose password was right. */
interface Checked {
  readonly user: User;
  readonly now: Date;
}

/** Locks an account and counts a right or wrong password of it; answers the refusal. Tries that had to wait leave no trace. */
export async function checkPassword(
  work: Work,
  { userId, passwordHash, matches, rehashed }: Credentials,
): Promise<Checked | Fault> {
  const { users, now } = await work.lock({ users: userLock(userId) });
  const [user] = users;
  if (!user) return credentialsInvalid();
  // A statement of its own: it sees a place that was new to whoever held the account's row before.
  const place = (await findPlace(work.em, userId, work.call.clientAddress)) ?? newPlace(work, userId, now);
  if (place.blocked(now)) return credentialsInvalid();
  work.about({ ...aboutAccount(user), actor: { userId: user.id, role: user.role } });
  if (user.passwordHash !== passwordHash) throw new Fault('CONTENTION', 'the password was changed at the same time');
  if (!matches) {
    user.signInFailed();
    place.failed(now, user);
    return credentialsInvalid();
  }
  user.signInSucceeded();
  place.succeeded(now);
  if (rehashed) user.changePassword(rehashed, now);
  return { user, now };
}

/** An account as the subject of a record; a patient's is patient data. */
export function aboutAccount({ id, role }: Pick<User, 'id' | 'role'>): Subject {
  return { entityType: 'user', entityId: id, ...(role === 'PATIENT' && { patientId: id }) };
}

export function credentialsInvalid(): Fault {
  return new Fault('CREDENTIALS_INVALID', 'the e-mail address or the password is wrong');
}
