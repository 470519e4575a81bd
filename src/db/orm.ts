import { Migrator } from '@mikro-orm/migrations';
import { type EntitySchema, MikroORM, type Options } from '@mikro-orm/postgresql';
import { PostgresDialect, type PostgresPool } from 'kysely';

import pg from 'pg';
import { migrations } from '../../migrations/index.ts';
import { createPool, type PoolOptions } from './pool.ts';
import type { Presence } from './presence.ts';
import { sql } from './sql.ts';
import { forkFor, row } from './statement.ts';

/** How to reach PostgreSQL, and how long to wait for it. */
export interface DatabaseOptions {
  /** postgres:// URL. */
  readonly url: string;
  /** Connections at most. */
  readonly pool: number;
  /** Milliseconds a call waits for a free connection before it is refused. */
  readonly poolWaitMs: number;
  /** Shown by PostgreSQL in pg_stat_activity. */
  readonly applicationName: string;
  readonly warn?: (message: string) => void;
  /** Without the time-outs below: for migrations, which may take long. */
  readonly patient?: boolean;
}

/**
 * Milliseconds, set for each connection when it starts: a stuck statement, lock or transaction ends by itself, and so
 * does the statement of a process that was killed or cut off.
 */
const TIMEOUTS = {
  lock_timeout: 2_000,
  statement_timeout: 5_000,
  idle_in_transaction_session_timeout: 5_000,
  client_connection_check_interval: 1_000,
};
/** None, whatever the role has: for migrations. */
const PATIENT = { lock_timeout: 0, statement_timeout: 0, idle_in_transaction_session_timeout: 0 };
/** How alike a name must be to what was searched for, from 0 to 1: forgives one wrong letter in five. */
const LIKENESS = { 'pg_trgm.word_similarity_threshold': 0.33 };

/** How rows arrive: instants as Date (MikroORM's default leaves them text), bigint as number: all of ours are counts. */
const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, Number);

/** Makes the ORM; no connection is opened before the first statement. */
export function createOrm(database: DatabaseOptions, entities: readonly EntitySchema[]): MikroORM {
  const warn = database.warn ?? (() => {});
  const poolFor = async (): Promise<PostgresPool> => {
    const { pool, presence } = createPool(poolOptions(database), warn);
    presences.set(orm, presence);
    return pool;
  };
  const options: Options = {
    clientUrl: database.url,
    entities: [...entities],
    extensions: [Migrator],
    migrations: { migrationsList: migrations, snapshot: false, transactional: true, allOrNothing: true },
    forceUtcTimezone: true,
    discovery: { warnWhenNoEntities: false },
    loggerFactory: () => quietLogger(warn),
    driverOptions: new PostgresDialect({ pool: poolFor }),
  };
  const orm = new MikroORM(options);
  return orm;
}

/** Of each ORM's pool, which is made when it is first needed. */
const presences = new WeakMap<MikroORM, Presence>();

/** Resolves when there is a database as far as is known, asking it when that is doubtful; throws the driver's error else. */
export async function databaseThere(orm: MikroORM): Promise<void> {
  await presences.get(orm)?.check();
}

/** What connections to it are made with. */
export function poolOptions({ url, pool, poolWaitMs, applicationName, patient }: DatabaseOptions): PoolOptions {
  return {
    connectionString: url,
    max: pool,
    idleTimeoutMillis: 30_000,
    connectionTimeoutMillis: poolWaitMs,
    application_name: applicationName,
    keepAlive: true,
    types,
    options: startUpOptions({ timezone: 'UTC', ...LIKENESS, ...(patient ? PATIENT : TIMEOUTS) }),
    statementMs: patient ? undefined : TIMEOUTS.statement_timeout,
  };
}

/** The settings that a migration's connections start with. */
export const patientOptions = startUpOptions({ timezone: 'UTC', ...PATIENT });

function startUpOptions(settings: Readonly<Record<string, string | number>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
}

/** Throws when a pooler before the server has dropped the settings: without the time-outs one stuck call holds others for ever. */
export async function checkSettings(orm: MikroORM): Promise<void> {
  const em = forkFor(orm);
  for (const [name, wanted] of Object.entries({ ...TIMEOUTS, ...LIKENESS })) {
    const shown = await row<{ value: string | null }>(
      em,
      sql`SELECT coalesce((SELECT setting FROM pg_settings WHERE name = ${name}), current_setting(${name}, TRUE)) AS value`,
    );
    if (Number(shown?.value) !== wanted) {
      throw new Error(
        `the connection has ${name} = ${shown?.value} instead of ${wanted}. A pooler that drops start-up options is in between? Set it on the role: ALTER ROLE … SET ${name} = ${wanted}`,
      );
    }
  }
}

/** MikroORM's own messages: statements are never logged, warnings about connections are passed on. */
function quietLogger(warn: (message: string) => void) {
  const quiet = () => {};
  return {
    log: quiet,
    error: quiet,
    warn: (_namespace: string, message: string) => warn(message),
    logQuery: quiet,
    setDebugMode: quiet,
    isEnabled: () => false,
  };
}
