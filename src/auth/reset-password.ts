import type { Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { endAllSessions } from './end-sessions.ts';
import { findPlace } from './find-account.ts';
import { useToken } from './use-token.ts';

/** A token that was sent to the account's address, and the hash of the new password. */
export interface Reset {
  readonly token: string;
  readonly newHash: string;
}

/**
 * Sets a new password, ends every session and forgets wrong passwords from the calling place; those from elsewhere go on
 * waiting. Signs nobody in. Throws MAIL_TOKEN_INVALID, and ACCOUNT_SUSPENDED, which leaves the token.
 */
export async function resetPassword(work: Work, { token, newHash }: Reset): Promise<void> {
  const { user, now } = await useToken(work, { kind: 'PASSWORD_RESET', token });
  if (user.state === 'SUSPENDED') throw new Fault('ACCOUNT_SUSPENDED', 'the account is suspended');
  user.changePassword(newHash, now);
  user.signInSucceeded();
  user.verifyEmail(now);
  const place = await findPlace(work.em, user.id, work.call.clientAddress);
  place?.forgiven(now);
  await endAllSessions(work, user.id, { now });
}
