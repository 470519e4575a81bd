import { sql } from '../db/sql.ts';
import { rows, type Sql } from '../db/statement.ts';
import type { Job } from './job.ts';

/** Rows deleted in one transaction. */
const BATCH = 1_000;

/** Deletes the rows of a table that are outdated, batch after batch, passing over those in use. */
export function purge(table: string, outdated: Sql): Job['run'] {
  const statement = sql`DELETE FROM ${sql.ref(table)} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ${sql.ref(table)} WHERE ${outdated} LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)) RETURNING 1`;
  return async (step) => {
    let deleted = 0;
    for (let batch = BATCH; batch === BATCH; deleted += batch)
      batch = await step(async (em) => (await rows(em, statement)).length);
    return deleted;
  };
}
