import type { Subject, Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import type { SignInPlace } from './sign-in-place.entity.ts';
import { beginSession, newPlace, type SignedIn } from './signed-in.ts';
import type { User } from './user.entity.ts';
import { placeLock, userLock } from './user-lock.ts';

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
  const { users, places, now } = await work.lock(passwordLocks(work, credentials.userId));
  const [user] = users;
  if (!user) return credentialsInvalid();
  const refused = checkPassword(work, { user, place: places[0], now }, credentials);
  if (refused) return refused;
  if (user.state === 'SUSPENDED') return new Fault('ACCOUNT_SUSPENDED', 'the account is suspended');
  return beginSession(work, user, now);
}

/** What a check of an account's password locks. */
export function passwordLocks({ call }: Work, userId: string) {
  return { users: userLock(userId), places: placeLock(userId, call.clientAddress) };
}

/** A locked account, and what is known of the place that the password comes from. */
interface Tried {
  readonly user: User;
  readonly place: SignInPlace | undefined;
  readonly now: Date;
}

/** Counts a right or wrong password of a locked account; answers the refusal. Tries that had to wait leave no trace. */
export function checkPassword(
  work: Work,
  { user, now, place = newPlace(work, user.id, now) }: Tried,
  { passwordHash, matches, rehashed }: Credentials,
): Fault | undefined {
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
  return undefined;
}

/** An account as the subject of a record; a patient's is patient data. */
export function aboutAccount({ id, role }: Pick<User, 'id' | 'role'>): Subject {
  return { entityType: 'user', entityId: id, ...(role === 'PATIENT' && { patientId: id }) };
}

export function credentialsInvalid(): Fault {
  return new Fault('CREDENTIALS_INVALID', 'the e-mail address or the password is wrong');
}
