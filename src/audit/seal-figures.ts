import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import { type Head, ofTransactions, sealColumns, sealOf } from './seal.ts';

/** How far the audit log is sealed. */
export interface SealFigures {
  /** The last seal, and when it was made; undefined when there is none. */
  readonly head: (Head & { readonly sealedAt: Date }) | undefined;
  /** When the oldest row was recorded that is not sealed, and for how many seconds it has not been; undefined when all are. */
  readonly waiting: { readonly since: Date; readonly seconds: number } | undefined;
  /** How many rows are not sealed; MOST_COUNTED means as many or more. */
  readonly unsealed: number;
}

/** Rows that are counted one by one. */
const MOST_COUNTED = 10_000;

/** In three statements of some milliseconds, however large the log. */
export async function sealFigures(em: EntityManager): Promise<SealFigures> {
  const found = await row<object & { next: string }>(
    em,
    sql`SELECT ${sealColumns}, pg_snapshot_xmax(pg_current_snapshot())::text AS next FROM audit_seal ORDER BY number DESC LIMIT 1`,
  );
  const last = found && sealOf(found);
  // Where transactions are counted anew, what came after the last seal can be told by its time alone.
  const anew = last && BigInt(found.next) < last.xidEnd;
  const eraFrom = anew ? last.lastRecordedAt + 1n : last?.eraFrom;
  const unsealed = ofTransactions({ from: eraFrom, until: undefined }, anew ? 0n : (last?.xidEnd ?? 0n));
  const oldest = await row<{ since: Date; seconds: number }>(
    em,
    sql`SELECT recorded_at AS since, extract(epoch FROM clock_timestamp() - recorded_at)::double precision AS seconds
        FROM audit_event WHERE ${unsealed} ORDER BY xid LIMIT 1`,
  );
  const counted = await row<{ n: number }>(
    em,
    sql`SELECT count(*) AS n FROM (SELECT FROM audit_event WHERE ${unsealed} LIMIT ${MOST_COUNTED}) AS counted`,
  );
  return {
    head: last && {
      number: last.number,
      root: last.root.toString('hex'),
      sealedAt: new Date(Number(last.sealedAt / 1000n)),
    },
    waiting: oldest && { since: oldest.since, seconds: Math.max(0, oldest.seconds) },
    unsealed: counted?.n ?? 0,
  };
}
