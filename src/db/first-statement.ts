import type { EntityManager } from '@mikro-orm/postgresql';
import type { Call } from '../caller.ts';
import { checkCaller, type Standing, sessionLive } from './caller-standing.ts';
import { sql } from './sql.ts';
import { row, type Sql } from './statement.ts';
import type { Locked, Locks } from './work.ts';

/** Another try of the same request exists; its answer has to be read. */
export class ClaimLost extends Error {}

/** The claim that an idempotent unit of work begins with. */
export interface Claim {
  readonly requestId: string;
  /** SHA-256 over what the request means. */
  readonly fingerprint: Buffer;
}

interface FirstRow extends Standing {
  readonly now: Date;
  readonly claimed: boolean;
  readonly caller_name: string | null;
  readonly [lock: `lock_${string}`]: object[];
}

/** Runs the first statement of a unit of work. `shiftMs` is added to the database's time (tests live in the future). */
export async function lockFirst<L extends Locks>(
  em: EntityManager,
  call: Call,
  claim: Claim | undefined,
  locks: L,
  shiftMs: number,
) {
  const first = await row<FirstRow>(em, firstStatement(call, claim, locks));
  if (!first) throw new Error('the first statement of a unit of work answers one row');
  if (claim && !first.claimed) throw new ClaimLost();
  if (call.caller) checkCaller(call.caller, first);
  const found = Object.entries(locks).map(([name, lock]) => {
    const rows = first[`lock_${name}`] ?? [];
    const entity = lock?.entity;
    return [name, entity ? rows.map((data) => em.map(entity, data as never)) : rows];
  });
  return {
    ...Object.fromEntries(found),
    now: new Date(first.now.getTime() + shiftMs),
    callerName: first.caller_name ?? '',
  } as Locked<L>;
}

/**
 * Each lock waits for the one before it through a condition that PostgreSQL evaluates first; otherwise a replay would
 * queue behind a busy slot (2 s and a failure instead of 2 ms), and two statements could lock in opposite orders.
 */
function firstStatement(call: Call, claim: Claim | undefined, locks: Locks): Sql {
  const { caller } = call;
  const ctes: Sql[] = [];
  let held: Sql = sql`TRUE`;
  if (claim && caller) {
    ctes.push(sql`claim AS (
      INSERT INTO idempotency (caller_id, method, request_id, fingerprint, created_at)
      VALUES (${caller.userId}, ${call.method}, ${claim.requestId}, ${claim.fingerprint}, clock_timestamp())
      ON CONFLICT DO NOTHING RETURNING 1)`);
    held = sql`EXISTS (SELECT FROM claim)`;
  }
  if (caller) {
    ctes.push(sql`caller AS MATERIALIZED (
      SELECT id, state, role, display_name FROM app_user WHERE id = ${caller.userId} AND ${held} FOR NO KEY UPDATE)`);
    // Locked to be read afresh: the snapshot may be older than the wait for the caller's row. (FOR KEY SHARE would answer the
    // old version of a row whose key has not changed.)
    ctes.push(sql`caller_session AS MATERIALIZED (
      SELECT ${sessionLive} AS live FROM session
      WHERE id = ${caller.sessionId} AND user_id = ${caller.userId} AND EXISTS (SELECT FROM caller) FOR SHARE)`);
    held = sql`EXISTS (SELECT FROM caller)`;
  }
  const names = Object.keys(locks).filter((name) => locks[name]);
  for (const name of names) ctes.push(sql`${sql.ref(name)} AS MATERIALIZED (${locks[name]?.query(held)})`);
  // clock_timestamp() in the outermost list is evaluated after the joins, so after the locks.
  return sql`${ctes.length ? sql`WITH ${sql.join(ctes)}` : sql``}
    SELECT clock_timestamp() AS now, ${claim ? sql`EXISTS (SELECT FROM claim)` : sql`TRUE`} AS claimed
      ${caller ? sql`, caller.state AS user_state, caller.role AS user_role, caller.display_name AS caller_name, caller_session.live AS session_live` : sql``}
      ${sql.join(
        names.map((name) => sql`, ${sql.ref(`lock_${name}`)}.found AS ${sql.ref(`lock_${name}`)}`),
        '',
      )}
    FROM (SELECT) one
      ${caller ? sql`LEFT JOIN caller ON TRUE LEFT JOIN caller_session ON TRUE` : sql``}
      ${sql.join(
        names.map(
          (name) =>
            sql`CROSS JOIN (SELECT coalesce(jsonb_agg(to_jsonb(${sql.ref(`r_${name}`)})), '[]') AS found FROM ${sql.ref(name)} ${sql.ref(`r_${name}`)}) ${sql.ref(`lock_${name}`)}`,
        ),
        ' ',
      )}`;
}
