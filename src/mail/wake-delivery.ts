import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { rows } from '../db/statement.ts';
import { workerSchemaIn } from '../db/worker-schema.ts';

/** The background job that sends mails. */
export const DELIVERY = 'deliver-mails';

/** Has mails delivered as soon as the transaction of `em` is committed, by whichever instance comes first. */
export async function wakeDelivery(em: EntityManager): Promise<void> {
  const worker = sql.ref(await workerSchemaIn(em));
  await rows(em, sql`SELECT FROM ${worker}.add_job(${DELIVERY}, job_key => ${DELIVERY}, queue_name => ${DELIVERY})`);
}
