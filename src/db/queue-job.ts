import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from './sql.ts';
import { rows } from './statement.ts';
import { workerSchemaIn } from './worker-schema.ts';

/**
 * Has a background job done as soon as the transaction of `em` is committed, by whichever instance comes first; once, however often it
 * is asked for meanwhile. One that is under way is done again after it, and after what is due by then.
 */
export async function queueJob(em: EntityManager, name: string): Promise<void> {
  const worker = sql.ref(await workerSchemaIn(em));
  await rows(em, sql`SELECT FROM ${worker}.add_job(${name}, job_key => ${name}, queue_name => ${name})`);
}
