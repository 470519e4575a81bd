import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { rows } from '../db/statement.ts';
import { Session } from './session.entity.ts';

/** The live sessions of a user, newest first, at most 100. */
export async function listSessions(em: EntityManager, userId: string, now: Date): Promise<Session[]> {
  const found = await rows<object>(
    em,
    sql`SELECT * FROM session WHERE user_id = ${userId} AND revoked_at IS NULL AND idle_expires_at > ${now} AND expires_at > ${now}
        ORDER BY id DESC LIMIT 100`,
  );
  return found.map((data) => em.map(Session, data));
}
