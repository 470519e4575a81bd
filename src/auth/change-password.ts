import type { Work } from '../db/work.ts';
import type { Fault } from '../fault.ts';
import { endAllSessions } from './end-sessions.ts';
import { type Credentials, checkPassword, credentialsInvalid, passwordLocks } from './log-in.ts';

/** A comparison with the current password, and the hash of the new one. */
export interface NewPassword extends Credentials {
  readonly newHash: string;
  /** The session that goes on. */
  readonly sessionId: string;
}

/** Sets a new password and ends the user's other sessions. A wrong current password counts as at log-in: CREDENTIALS_INVALID. */
export async function changePassword(work: Work, change: NewPassword): Promise<undefined | Fault> {
  const { users, places, now } = await work.lock(passwordLocks(work, change.userId));
  const [user] = users;
  if (!user) return credentialsInvalid();
  const refused = checkPassword(work, { user, place: places[0], now }, change);
  if (refused) return refused;
  user.changePassword(change.newHash, now);
  await endAllSessions(work, user.id, { keep: change.sessionId, now });
  return undefined;
}
