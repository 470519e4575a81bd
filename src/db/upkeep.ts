import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from './sql.ts';
import { allowStatements, row, rows, type Sql } from './statement.ts';
import { inTransaction } from './transaction.ts';

/** Any number that only upkeep uses. */
const LOCK = 4_270_002;
const BATCH = 1_000;
/** Between two rounds; the first comes a minute after the start. */
const EVERY_MS = 60 * 60_000;
const FIRST_MS = 60_000;
/** Milliseconds that one batch may take. */
const BATCH_MS = 30_000;

/** What is of no more use, as tables and conditions. Answers are kept for 7 days; sessions 30 days after their end, for questions; places
 * of sign-ins half a year, and those where only wrong passwords came from a day: no wait after them lasts longer. */
const OUTDATED: readonly (readonly [table: string, condition: Sql])[] = [
  ['idempotency', sql`created_at < now() - interval '7 days'`],
  [
    'sign_in_place',
    sql`seen_at < now() - CASE WHEN signed_in_at IS NULL THEN interval '1 day' ELSE interval '180 days' END`,
  ],
  ['session', sql`least(expires_at, coalesce(revoked_at, expires_at)) < now() - interval '30 days'`],
];

/**
 * Keeps the database in shape: deletes outdated rows in small batches, passing over those in use, and makes the audit log's
 * partitions of the coming 24 months. Several instances may run it; one at a time works, the others find nothing to do.
 * Answers how many rows were deleted. One part that fails keeps none of the others from being done; then throws AggregateError.
 */
export async function keepUp(orm: MikroORM): Promise<number> {
  const errors: unknown[] = [];
  let deleted = 0;
  const attempt = (work: () => Promise<void>) => work().catch((error: unknown) => void errors.push(error));
  for (const [table, condition] of OUTDATED) {
    await attempt(async () => {
      for (let batch = BATCH; batch === BATCH; deleted += batch) batch = await deleteBatch(orm, table, condition);
    });
  }
  await attempt(() => alone(orm, async (em) => void (await rows(em, sql`SELECT ensure_audit_partitions(24)`))));
  if (errors.length > 0) throw new AggregateError(errors, 'a part of the upkeep failed');
  return deleted;
}

/** Does so every hour until the function it answers is called. */
export function keepUpHourly(orm: MikroORM, onError: (error: unknown) => void): () => void {
  const again = () => {
    timer = setTimeout(round, EVERY_MS).unref();
  };
  const round = () => void keepUp(orm).catch(onError).finally(again);
  let timer = setTimeout(round, FIRST_MS).unref();
  return () => clearTimeout(timer);
}

async function deleteBatch(orm: MikroORM, table: string, condition: Sql): Promise<number> {
  const found = await alone(orm, (em) =>
    rows(
      em,
      sql`DELETE FROM ${sql.ref(table)} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM ${sql.ref(table)} WHERE ${condition} LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)) RETURNING 1`,
    ),
  );
  return found?.length ?? 0;
}

/** Runs `work` in a transaction unless another instance is at it: then it answers undefined. */
function alone<T>(orm: MikroORM, work: Parameters<typeof inTransaction<T>>[2]): Promise<T | undefined> {
  return inTransaction(orm, AbortSignal.timeout(BATCH_MS), async (em) => {
    await allowStatements(em, BATCH_MS);
    const turn = await row<{ had: boolean }>(em, sql`SELECT pg_try_advisory_xact_lock(${LOCK}) AS had`);
    return turn?.had ? work(em) : undefined;
  });
}
