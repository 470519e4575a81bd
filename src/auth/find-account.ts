import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { row, type Sql } from '../db/statement.ts';
import { Fault } from '../fault.ts';
import { normalEmail, User } from './user.entity.ts';

/** The account with this e-mail address, as it is now, unlocked. */
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
