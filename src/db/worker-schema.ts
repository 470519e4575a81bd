import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { Logger, runMigrations } from 'graphile-worker';
import pg from 'pg';
import { patientOptions } from './orm.ts';
import { Sql, sql } from './sql.ts';
import { forkFor, row } from './statement.ts';

/**
 * Where graphile-worker keeps its jobs: beside the schema that the search path names, so that several clinics in one database, a schema
 * each, have a queue each.
 */
const NAME = `CASE current_schema() WHEN 'public' THEN 'graphile_worker' ELSE current_schema() || '_worker' END`;
const ASKED = new Sql([`SELECT ${NAME} AS name`]);
const ASKING_MS = 5_000;

/** Of each database that has told. */
const names = new WeakMap<MikroORM, string>();

/** The name of graphile-worker's schema. */
export async function workerSchema(orm: MikroORM, signal = AbortSignal.timeout(ASKING_MS)): Promise<string> {
  const known = names.get(orm);
  if (known) return known;
  const name = await workerSchemaIn(forkFor(orm, signal));
  names.set(orm, name);
  return name;
}

/** The same, asked in the transaction of `em`, which is to need no other connection. */
export async function workerSchemaIn(em: EntityManager): Promise<string> {
  const found = await row<{ name: string }>(em, ASKED);
  if (!found?.name) throw new Error('the search path names no schema that is there');
  return found.name;
}

/** What goes by `name` in that schema, to be used in statements. */
export async function inWorkerSchema(orm: MikroORM, signal?: AbortSignal): Promise<(name: string) => Sql> {
  const schema = sql.ref(await workerSchema(orm, signal));
  return (name) => sql`${schema}.${sql.ref(name)}`;
}

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
    const { rows } = await pgPool.query<{ name: string }>(ASKED.texts[0] as string);
    await runMigrations({ pgPool, schema: rows[0]?.name as string, logger: new Logger(() => () => {}) });
  } finally {
    await pgPool.end();
  }
}
