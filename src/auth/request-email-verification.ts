import type { Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { MOST_MAILS, queueMail } from '../mail/queue-mail.ts';
import { aboutAccount } from './log-in.ts';
import { userLock } from './user-lock.ts';

/** Has a token sent to the caller's address, unless that is verified. Throws RATE_LIMITED when enough were sent in the last hour. */
export async function requestEmailVerification(work: Work, userId: string): Promise<void> {
  const {
    users: [user],
    now,
  } = await work.lock({ users: userLock(userId) });
  if (!user) throw new Fault('USER_NOT_FOUND', 'no such user');
  if (user.emailVerifiedAt) return;
  const retryAfterMs = await queueMail(work, { kind: 'VERIFICATION', userId, now });
  const limit = `${MOST_MAILS.VERIFICATION.count}`;
  if (retryAfterMs > 0)
    throw new Fault('RATE_LIMITED', `more than ${limit} mails an hour`, {
      metadata: { limit, per: 'account' },
      retryAfterMs,
    });
  work.about(aboutAccount(user));
}
