import type { Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { voidTokens } from '../mail/queue-mail.ts';
import { endAllSessions } from './end-sessions.ts';
import { type Credentials, checkPassword } from './log-in.ts';

/** A comparison with the current password, and the hash of the new one. */
export interface NewPassword extends Credentials {
  readonly newHash: string;
  /** The session that goes on. */
  readonly sessionId: string;
}

/** Sets a new password, ends the user's other sessions, and voids what was sent to set one without it. A wrong current password counts as at log-in: CREDENTIALS_INVALID. */
export async function changePassword(work: Work, change: NewPassword): Promise<undefined | Fault> {
  const checked = await checkPassword(work, change);
  if (checked instanceof Fault) return checked;
  const { user, now } = checked;
  user.changePassword(change.newHash, now);
  await voidTokens(work, { kind: 'PASSWORD_RESET', userId: user.id, now });
  await endAllSessions(work, user.id, { keep: change.sessionId, now });
  return undefined;
}
