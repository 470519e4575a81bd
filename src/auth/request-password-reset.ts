import { sql } from '../db/sql.ts';
import { lockRows, type Work } from '../db/work.ts';
import { queueMail } from '../mail/queue-mail.ts';
import { aboutAccount } from './log-in.ts';
import { normalEmail, User } from './user.entity.ts';

/** Has a token sent to the address, if it is an account's that may be used and got few of late. Never says whether. */
export async function requestPasswordReset(work: Work, email: string): Promise<void> {
  const {
    users: [user],
    now,
  } = await work.lock({
    users: lockRows(
      User,
      (held) => sql`SELECT * FROM app_user WHERE email = ${normalEmail(email)} AND ${held} FOR NO KEY UPDATE`,
    ),
  });
  if (user?.state !== 'ACTIVE') return;
  if ((await queueMail(work, { kind: 'PASSWORD_RESET', userId: user.id, now })) > 0) return;
  work.about({ ...aboutAccount(user), actor: { userId: user.id, role: user.role } });
}
