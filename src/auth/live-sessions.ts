import { sql } from 'kysely';
import { LRUCache } from 'lru-cache';
import type { Caller } from '../caller.ts';
import { checkCaller, sessionLive } from '../db/caller-standing.ts';
import { row } from '../db/statement.ts';
import type { UnitsOfWork } from '../db/unit-of-work.ts';

/** Milliseconds that an answer counts. The contract promises 5 s for suspension and revocation to be seen by reads. */
const TRUSTED_MS = 2_000;
const REMEMBERED = 50_000;

interface Standing {
  readonly user_state: string;
  readonly session_live: boolean;
}

/** Whether sessions still live, asked of the database at most every two seconds each. */
export interface LiveSessions {
  /** Throws SESSION_REVOKED, ACCOUNT_SUSPENDED or TOKEN_INVALID. */
  check(caller: Caller, signal: AbortSignal): Promise<void>;
  /** The session has just been ended here: checks from now on ask the database. One already under way may still count for two seconds. */
  forget(sessionId: string): void;
}

export function createLiveSessions(units: UnitsOfWork): LiveSessions {
  const known = new LRUCache<string, Standing>({ max: REMEMBERED, ttl: TRUSTED_MS });
  return {
    async check({ userId, sessionId }, signal) {
      const standing = known.get(sessionId) ?? (await ask(units, { userId, sessionId }, signal));
      if (standing?.session_live && standing.user_state === 'ACTIVE')
        known.set(sessionId, standing, { noUpdateTTL: true });
      checkCaller(standing?.user_state ?? null, standing?.session_live ?? null);
    },
    forget(sessionId) {
      known.delete(sessionId);
    },
  };
}

function ask(
  units: UnitsOfWork,
  { userId, sessionId }: Omit<Caller, 'role'>,
  signal: AbortSignal,
): Promise<Standing | undefined> {
  return units.read(signal, (em) =>
    row<Standing>(
      em,
      sql`SELECT u.state AS user_state, coalesce((SELECT ${sessionLive} FROM session WHERE id = ${sessionId} AND user_id = u.id), FALSE) AS session_live
          FROM app_user u WHERE u.id = ${userId}`,
    ),
  );
}
