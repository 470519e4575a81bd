import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row, type Sql } from '../db/statement.ts';
import { Fault } from '../fault.ts';
import { networkOf } from '../network.ts';
import { SignInPlace } from './sign-in-place.entity.ts';
import { normalEmail, User } from './user.entity.ts';

/** An account that somebody tries to sign in to from `clientAddress`, and what is known of that place; both unlocked. */
export async function findTried(
  em: EntityManager,
  { email, clientAddress }: { email: string; clientAddress: string },
): Promise<{ user: User | undefined; place: SignInPlace | undefined }> {
  const user = await findByEmail(em, email);
  return { user, place: user && (await findPlace(em, user.id, clientAddress)) };
}

/** What is known of tries at an account's password from the network of `clientAddress`. */
export async function findPlace(
  em: EntityManager,
  userId: string,
  clientAddress: string,
): Promise<SignInPlace | undefined> {
  const found = await row<object>(
    em,
    sql`SELECT * FROM sign_in_place WHERE user_id = ${userId} AND network = ${networkOf(clientAddress)}`,
  );
  return found && em.map(SignInPlace, found);
}

/** The account of this address, unlocked. */
export function findByEmail(em: EntityManager, email: string): Promise<User | undefined> {
  return find(em, sql`email = ${normalEmail(email)}`);
}

/** The account with this id. Throws USER_NOT_FOUND. */
export async function getUser(em: EntityManager, userId: string): Promise<User> {
  const user = await find(em, sql`id = ${userId}`);
  if (!user) throw new Fault('USER_NOT_FOUND', 'no such user');
  return user;
}

async function find(em: EntityManager, where: Sql): Promise<User | undefined> {
  const found = await row<object>(em, sql`SELECT * FROM app_user WHERE ${where}`);
  return found && em.map(User, found);
}
