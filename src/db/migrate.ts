import type { EntityManager } from '@mikro-orm/postgresql';
import { Client } from 'pg';
import { migrations } from '../../migrations/index.ts';
import { createOrm, patientOptions } from './orm.ts';
import { sql } from './sql.ts';
import { row, rows } from './statement.ts';
import { migrateWorkerSchema } from './worker-schema.ts';

/** Any number that only migrations use. */
const LOCK = 4_270_001;
/** Months of audit partitions kept ahead. */
const MONTHS_AHEAD = 24;

/**
 * Brings the schema up to what this build knows, graphile-worker's with it, and the audit log's partitions up to 24 months ahead.
 * Safe when several start at once: neither migrator takes a lock, so an advisory one is held on a connection of its own
 * meanwhile. Answers the names of the migrations that ran.
 */
export async function migrate(url: string): Promise<string[]> {
  const orm = createOrm({ url, pool: 1, poolWaitMs: 10_000, applicationName: 'amrutam migrate', patient: true }, []);
  const holder = new Client({ connectionString: url, application_name: 'amrutam migrate', options: patientOptions });
  holder.on('error', () => {}); // a lost connection shows in the statement that needs it
  try {
    await holder.connect();
    await mustBeDirect(holder);
    await holder.query('SELECT pg_advisory_lock($1)', [LOCK]);
    // First, so that the migration named after its revision says that it is there.
    await migrateWorkerSchema(url);
    const ran = await orm.migrator.up();
    await holder.query('SELECT ensure_audit_partitions($1)', [MONTHS_AHEAD]);
    return ran.map(({ name }) => name);
  } finally {
    await holder.end().catch(() => {});
    await orm.close();
  }
}

/**
 * Throws behind a pooler that drops what a connection asks for when it starts: the database's own time-outs would end a long
 * migration, and the lock would stay with a connection of the pooler when this one ends.
 */
async function mustBeDirect(client: Client): Promise<void> {
  const { rows: found } = await client.query<{ source: string }>(
    "SELECT source FROM pg_settings WHERE name = 'statement_timeout'",
  );
  if (found[0]?.source !== 'client')
    throw new Error('a pooler is in between, and migrations need PostgreSQL itself: give its own host and port');
}

/** Names of the migrations this build knows that the database lacks. */
export async function missingMigrations(em: EntityManager): Promise<string[]> {
  const done = new Set(await appliedMigrations(em));
  return migrations.map(({ name }) => name).filter((name) => !done.has(name));
}

/**
 * Names of the migrations in the database that this build doesn't know. They are fine, because an upgrade expands first
 * and old instances serve on, but for those named `NNNN-contract-…`: they take away what older builds need.
 */
export async function unknownMigrations(em: EntityManager): Promise<{ expanding: string[]; contracting: string[] }> {
  const known = new Set(migrations.map(({ name }) => name));
  const unknown = (await appliedMigrations(em)).filter((name) => !known.has(name));
  const contracts = (name: string) => /^\d+-contract-/.test(name);
  return { expanding: unknown.filter((name) => !contracts(name)), contracting: unknown.filter(contracts) };
}

async function appliedMigrations(em: EntityManager): Promise<string[]> {
  const table = await row<{ there: boolean }>(em, sql`SELECT to_regclass('mikro_orm_migrations') IS NOT NULL AS there`);
  if (!table?.there) return [];
  return (await rows<{ name: string }>(em, sql`SELECT name FROM mikro_orm_migrations ORDER BY id`)).map(
    ({ name }) => name,
  );
}
