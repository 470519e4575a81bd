import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { sql } from './sql.ts';
import { forkFor, row, rows } from './statement.ts';

/** How far a database has come: a replica of it that has come as far shows everything that was committed by then. */
export interface Position {
  /** Up to where its log is on disk, as pg_lsn is written. No commit is shown before it is there. */
  readonly lsn: string;
  /** What was written down since the last failover, once: who shows it has the same past. */
  readonly mark: string;
}

/** Milliseconds for an answer. */
const PATIENCE_MS = 500;

/**
 * Asks the leader how far it has come. Who asks while a question is on its way gets the answer to the next one, which they
 * share: it has to be asked later than they did. Rejects when it can't be asked, or is no leader; then who waits for the next hears so at once.
 */
export function leaderPosition(orm: MikroORM): () => Promise<Position> {
  let underWay: Promise<unknown> | undefined;
  let next: Promise<Position> | undefined;
  function begin(): Promise<Position> {
    const answer = readPosition(forkFor(orm, AbortSignal.timeout(PATIENCE_MS)));
    const over = () => {
      if (underWay === answer) underWay = undefined;
    };
    underWay = answer;
    answer.then(over, over);
    return answer;
  }
  async function after(earlier: Promise<unknown>): Promise<Position> {
    await earlier.finally(() => {
      next = undefined;
    });
    return begin();
  }
  return () => {
    if (!underWay) return begin();
    next ??= after(underWay);
    return next;
  };
}

/**
 * Each failover begins another timeline. On each a mark is written, by whoever needs it first: positions alone would
 * take a standby for one of this leader that has followed another one further.
 */
async function readPosition(em: EntityManager): Promise<Position> {
  const found = await lookUp(em);
  if (found.mark !== null) return found as Position;
  await rows(
    em,
    sql`INSERT INTO timeline (number, mark) VALUES (${found.number}, gen_random_uuid()) ON CONFLICT DO NOTHING`,
  );
  return (await lookUp(em)) as Position;
}

async function lookUp(em: EntityManager): Promise<{ lsn: string; number: number; mark: string | null }> {
  const found = await row<{ lsn: string; number: number; mark: string | null }>(
    em,
    sql`SELECT lsn::text, number, mark
        FROM (SELECT lsn, ('x' || left(pg_walfile_name(lsn), 8))::bit(32)::integer AS number FROM pg_current_wal_flush_lsn() AS lsn) AS at
        LEFT JOIN timeline USING (number)`,
  );
  return found as NonNullable<typeof found>;
}

/** How a replica stands to a position. */
export interface Standing {
  readonly standby: boolean;
  /** Bytes of the log that it has yet to replay; 0 or less: none. */
  readonly behind: number;
  /** Whether it shows the mark. Of one that is behind it means nothing. */
  readonly marked: boolean;
}

/** Asks a server how it stands to `position`. What is read on the same connection afterwards shows at least as much. */
export async function readStanding(em: EntityManager, { lsn, mark }: Position): Promise<Standing> {
  return (await row<Standing>(
    em,
    sql`SELECT pg_is_in_recovery() AS standby, EXISTS (SELECT FROM timeline WHERE mark = ${mark}::uuid) AS marked,
          coalesce(pg_wal_lsn_diff(${lsn}::pg_lsn, pg_last_wal_replay_lsn()), 1)::float8 AS behind`,
  )) as Standing;
}
