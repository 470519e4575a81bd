import { LRUCache } from 'lru-cache';
import type { Caller } from '../caller.ts';
import { checkCaller, type Standing, sessionLive } from '../db/caller-standing.ts';
import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import type { UnitsOfWork } from '../db/unit-of-work.ts';

/** Milliseconds that an answer counts. The contract promises 5 s for suspension and revocation to be seen by reads. */
const TRUSTED_MS = 2_000;
const REMEMBERED = 50_000;

/** A caller who was found to be in good standing. */
type Known = Pick<Caller, 'userId' | 'role'>;

/** Whether sessions still live and their users are what their tokens say, asked of the database at most every two seconds each. */
export interface LiveSessions {
  /** Throws SESSION_REVOKED, ACCOUNT_SUSPENDED or TOKEN_INVALID. */
  check(caller: Caller, signal: AbortSignal): undefined | Promise<void>;
  /** The session has just been ended here: checks from now on ask the database. One already under way may still count for two seconds. */
  forget(sessionId: string): void;
}

export function createLiveSessions(units: UnitsOfWork): LiveSessions {
  const known = new LRUCache<string, Known>({ max: REMEMBERED, ttl: TRUSTED_MS });
  async function checkAfresh(caller: Caller, signal: AbortSignal): Promise<void> {
    const { userId, sessionId, role } = caller;
    // Counted from the question: the answer may have been long on its way.
    const start = performance.now();
    checkCaller(caller, await ask(units, caller, signal));
    known.set(sessionId, { userId, role }, { start });
  }
  return {
    check(caller, signal) {
      const { userId, sessionId, role } = caller;
      const found = known.get(sessionId);
      return found?.userId === userId && found.role === role ? undefined : checkAfresh(caller, signal);
    },
    forget(sessionId) {
      known.delete(sessionId);
    },
  };
}

function ask(units: UnitsOfWork, { userId, sessionId }: Caller, signal: AbortSignal): Promise<Standing | undefined> {
  return units.read(signal, (em) =>
    row<Standing>(
      em,
      sql`SELECT u.state AS user_state, u.role AS user_role, coalesce((SELECT ${sessionLive} FROM session WHERE id = ${sessionId} AND user_id = u.id), FALSE) AS session_live
          FROM app_user u WHERE u.id = ${userId}`,
    ),
  );
}
