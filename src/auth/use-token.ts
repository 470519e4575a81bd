import { sql } from '../db/sql.ts';
import { lockRows, type Work } from '../db/work.ts';
import { ownerOf, type SentToken, tokenOwner } from '../mail/find-token.ts';
import { mailTokenInvalid } from '../mail/mail-token.ts';
import { voidTokens } from '../mail/queue-mail.ts';
import { aboutAccount } from './log-in.ts';
import { User } from './user.entity.ts';

/**
 * Locks the account that a token was sent to, and uses the token up: no token of its kind is valid afterwards, or sent. Throws
 * MAIL_TOKEN_INVALID.
 */
export async function useToken(work: Work, sent: SentToken): Promise<{ user: User; now: Date }> {
  const {
    users: [user],
    now,
  } = await work.lock({
    users: lockRows(
      User,
      (held) => sql`SELECT * FROM app_user WHERE id = (${ownerOf(sent)}) AND ${held} FOR NO KEY UPDATE`,
    ),
  });
  // Read after the account was locked: of two who use it at once one has come first.
  if (!user || (await tokenOwner(work.em, sent, now)) !== user.id) throw mailTokenInvalid();
  work.about({ ...aboutAccount(user), actor: { userId: user.id, role: user.role } });
  await voidTokens(work, { kind: sent.kind, userId: user.id, now });
  return { user, now };
}
