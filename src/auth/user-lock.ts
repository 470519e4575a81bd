import { sql } from 'kysely';
import type { Sql } from '../db/statement.ts';
import { type Lock, lockRows } from '../db/work.ts';
import { networkOf } from '../network.ts';
import { SignInPlace } from './sign-in-place.entity.ts';
import { User } from './user.entity.ts';

/** The lock on one account; later locks find it as the name it was given. */
export function userLock(userId: string): Lock<User> {
  return lockRows(User, (held) => sql`SELECT * FROM app_user WHERE id = ${userId} AND ${held} FOR NO KEY UPDATE`);
}

/** The lock on what is known of tries at one account's password from where the call comes from. After that on the account. */
export function placeLock(userId: string, clientAddress: string): Lock<SignInPlace> {
  return lockRows(SignInPlace, (held) => sql`${placeOf(userId, clientAddress)} AND ${held} FOR NO KEY UPDATE`);
}

/** What is known of tries at an account's password from the network of `clientAddress`: at most one row. */
export function placeOf(userId: string, clientAddress: string): Sql {
  return sql`SELECT * FROM sign_in_place WHERE user_id = ${userId} AND network = ${networkOf(clientAddress)}`;
}
