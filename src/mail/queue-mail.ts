import { sql } from '../db/sql.ts';
import { row, rows } from '../db/statement.ts';
import type { Work } from '../db/work.ts';
import { Mail, type TokenKind } from './mail.entity.ts';
import { wakeDelivery } from './wake-delivery.ts';

const MINUTE_MS = 60_000;

/**
 * How many of a kind an account gets in how long. For a reset no longer than a token is valid: whoever asks in somebody else's
 * name until nothing is sent any more has left them a token that works.
 */
export const MOST_MAILS: Readonly<Record<TokenKind, { readonly count: number; readonly withinMs: number }>> = {
  VERIFICATION: { count: 5, withinMs: 60 * MINUTE_MS },
  PASSWORD_RESET: { count: 3, withinMs: 30 * MINUTE_MS },
};

/**
 * Has a mail with a token sent to a user whose row is locked, when the transaction commits; earlier tokens of the kind are void then.
 * Answers 0, or the milliseconds until another one may be sent: nothing is changed in that case.
 */
export async function queueMail(work: Work, { kind, userId, now }: { kind: TokenKind; userId: string; now: Date }) {
  const { em } = work;
  const waitMs = await waitFor(work, { kind, userId, now });
  if (waitMs > 0) return waitMs;
  await voidTokens(work, { kind, userId, now });
  em.persist(Mail.withToken(kind, userId, now));
  await wakeDelivery(em);
  return 0;
}

/**
 * No token of the kind that was sent to the user is valid any more, and none that waits, or is to be tried again, is sent. The user's
 * row must be locked.
 */
export async function voidTokens(
  { em }: Work,
  { kind, userId, now }: { kind: TokenKind; userId: string; now: Date },
): Promise<void> {
  // A try at sending one may be under way: its row is waited for, and what it has made is seen by the next statement.
  await rows(
    em,
    sql`UPDATE mail SET state = 'DROPPED', ended_at = ${now} WHERE user_id = ${userId} AND kind = ${kind} AND state = 'QUEUED'`,
  );
  await rows(
    em,
    sql`DELETE FROM mail_token USING mail WHERE mail.id = mail_id AND mail.user_id = ${userId} AND mail.kind = ${kind}`,
  );
}

async function waitFor({ em }: Work, { kind, userId, now }: { kind: TokenKind; userId: string; now: Date }) {
  const { count, withinMs } = MOST_MAILS[kind];
  const since = new Date(now.getTime() - withinMs);
  // The one whose place the next may take: the oldest of as many as there may be.
  const found = await row<{ created_at: Date }>(
    em,
    sql`SELECT created_at FROM mail WHERE user_id = ${userId} AND kind = ${kind} AND created_at > ${since}
        ORDER BY created_at DESC OFFSET ${count - 1} LIMIT 1`,
  );
  return found ? Math.max(1, found.created_at.getTime() - since.getTime()) : 0;
}
