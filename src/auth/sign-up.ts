import type { Work } from '../db/work.ts';
import { aboutAccount } from './log-in.ts';
import { beginSession, newPlace, type SignedIn } from './signed-in.ts';
import { User } from './user.entity.ts';

/** A new account. `passwordHash` is a PHC string, `timeZone` an IANA name that was checked. */
export type Account = Parameters<typeof User.signUp>[0];

/** What else an account of some role needs, such as a doctor's profile: made in the same transaction. */
export type Enrol = (work: Work, user: User, now: Date) => void;

/** Makes an account and begins its first session. Throws EMAIL_TAKEN when the transaction is written. */
export async function signUp(work: Work, account: Account, enrol: Enrol): Promise<SignedIn> {
  const { user, now } = await makeAccount(work, account);
  work.about({ actor: { userId: user.id, role: user.role } });
  enrol(work, user, now);
  newPlace(work, user.id, now).succeeded(now);
  return beginSession(work, user, now);
}

/** Makes an account without signing it in: administrators, by a command on the server. */
export async function makeAccount(work: Work, account: Account): Promise<{ user: User; now: Date }> {
  const { now } = await work.lock({});
  const user = User.signUp(account, now);
  work.em.persist(user);
  work.about(aboutAccount(user));
  return { user, now };
}
