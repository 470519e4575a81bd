import { sql } from '../db/sql.ts';
import { rows } from '../db/statement.ts';
import { lockRows, type Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { Session } from './session.entity.ts';

/** What one session of a user is ended by: log-out or revocation. Ending it again changes nothing. Throws SESSION_NOT_FOUND. */
export async function endSession(
  work: Work,
  { sessionId, userId }: { sessionId: string; userId: string },
): Promise<void> {
  work.about({ entityType: 'session', entityId: sessionId });
  const {
    sessions: [session],
    now,
  } = await work.lock({
    sessions: lockRows(
      Session,
      (held) =>
        sql`SELECT * FROM session WHERE id = ${sessionId} AND user_id = ${userId} AND ${held} FOR NO KEY UPDATE`,
    ),
  });
  if (!session) throw new Fault('SESSION_NOT_FOUND', 'no such session');
  session.end(now);
}

/** Ends every session of a user whose row is locked, but the one to keep. */
export async function endAllSessions(
  { em }: Work,
  userId: string,
  { keep, now }: { keep?: string; now: Date },
): Promise<void> {
  await rows(
    em,
    sql`UPDATE session SET revoked_at = ${now} WHERE user_id = ${userId} AND revoked_at IS NULL AND id IS DISTINCT FROM ${keep ?? null}::uuid`,
  );
}
