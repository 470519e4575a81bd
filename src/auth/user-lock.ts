import { sql } from '../db/sql.ts';
import { type Lock, lockRows } from '../db/work.ts';
import { User } from './user.entity.ts';

/** The lock on one account; later locks find it as the name it was given. */
export function userLock(userId: string): Lock<User> {
  return lockRows(User, (held) => sql`SELECT * FROM app_user WHERE id = ${userId} AND ${held} FOR NO KEY UPDATE`);
}
