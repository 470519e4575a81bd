import { Logger, runMigrations } from 'graphile-worker';
import pg from 'pg';
import { patientOptions } from './orm.ts';

/** Where graphile-worker keeps its jobs. */
export const WORKER_SCHEMA = 'graphile_worker';

/** Brings graphile-worker's own tables up to its version. Several at once can hinder each other: the caller sees to it that one runs. */
export async function migrateWorkerSchema(url: string): Promise<void> {
  const pgPool = new pg.Pool({
    connectionString: url,
    max: 1,
    application_name: 'amrutam migrate',
    options: patientOptions,
  });
  pgPool.on('error', () => {}); // a lost connection shows in the statement that needs it
  pgPool.on('connect', (client) => client.on('error', () => {}));
  try {
    await runMigrations({ pgPool, schema: WORKER_SCHEMA, logger: new Logger(() => () => {}) });
  } finally {
    await pgPool.end();
  }
}
