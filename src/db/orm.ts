import { Migrator } from '@mikro-orm/migrations';
import { type EntitySchema, MikroORM, type Options } from '@mikro-orm/postgresql';
import { PostgresDialect, type PostgresPool } from 'kysely';
import pg from 'pg';
import { migrations } from '../../migrations/index.ts';
import { BEGIN_NAME } from './opening-query.ts';
import { createPool, type PoolLoad, type PoolOptions } from './pool.ts';
import { sql } from './sql.ts';
import { forkFor, row, rows } from './statement.ts';
import { inTransaction, retrying } from './transaction.ts';

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
const ZONE = 'UTC';
/** Warnings arrive: one says that a change may be lost. */
const WARNINGS = { client_min_messages: 'notice' };
const DEAF = 'error';

/**
 * How rows arrive: instants as Date (MikroORM's default leaves them text), dates as text, for a date is no instant; bigint as number:
 * all of ours are counts.
 */
const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, Number);
types.setTypeParser(pg.types.builtins.DATE, String);

/** Makes the ORM; no connection is opened before the first statement. */
export function createOrm(database: DatabaseOptions, entities: readonly EntitySchema[]): MikroORM {
  const warn = database.warn ?? (() => {});
  const poolFor = async (): Promise<PostgresPool> => {
    const made = createPool(poolOptions(database), warn);
    pools.set(orm, made);
    return made.pool;
  };
  const options: Options = {
    clientUrl: database.url,
    entities: [...entities],
    extensions: [Migrator],
    migrations: { migrationsList: migrations, snapshot: false, transactional: true, allOrNothing: false },
    forceUtcTimezone: true,
    discovery: { warnWhenNoEntities: false },
    loggerFactory: () => quietLogger(warn),
    driverOptions: new PostgresDialect({ pool: poolFor }),
  };
  const orm = new MikroORM(options);
  return orm;
}

/** Of each ORM, made when it is first needed. */
const pools = new WeakMap<MikroORM, ReturnType<typeof createPool>>();

/** How many connections there are. */
export function poolLoad(orm: MikroORM): PoolLoad {
  return pools.get(orm)?.load() ?? { inUse: 0, idle: 0, limit: 0 };
}

/** Resolves when there is a database as far as is known, asking it when that is doubtful; throws the driver's error else. */
export async function databaseThere(orm: MikroORM): Promise<void> {
  await pools.get(orm)?.presence.check();
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
    options: startUpOptions({ TimeZone: ZONE, ...WARNINGS, ...LIKENESS, ...(patient ? PATIENT : TIMEOUTS) }),
    statementMs: patient ? undefined : TIMEOUTS.statement_timeout,
  };
}

/** The settings that a migration's connections start with. */
export const patientOptions = startUpOptions({ TimeZone: ZONE, ...PATIENT });

function startUpOptions(settings: Readonly<Record<string, string | number>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
}

/**
 * Throws when a pooler before the server has dropped the settings and the database has none of its own: without the time-outs
 * one stuck call holds others for ever. Where a pooler is, also finds out whether statements can be kept prepared.
 */
export async function checkSettings(orm: MikroORM): Promise<void> {
  const wanted = { ...TIMEOUTS, ...LIKENESS, ...WARNINGS, TimeZone: ZONE };
  const found = await rows<{ name: string; value: string | null; source: string | null }>(
    forkFor(orm),
    sql`SELECT name, coalesce(setting, current_setting(name, TRUE)) AS value, source
        FROM unnest(${Object.keys(wanted)}::text[]) AS wanted (name) LEFT JOIN pg_settings USING (name)`,
  );
  const changes = Object.entries(wanted)
    .filter(([name, value]) => !isAs(name, value, found.find((one) => one.name === name)?.value))
    .map(([name, value]) => `ALTER ROLE … SET ${name} = ${value};`);
  if (changes.length) {
    throw new Error(
      `the connection lacks settings that it asked for when it started. A pooler that drops them is in between? Set them in the database, as a superuser, and have the pooler connect anew: ${changes.join(' ')}`,
    );
  }
  if (found.some(({ name, source }) => name === 'statement_timeout' && source !== ASKED_FOR)) await findWhatIsKept(orm);
}

function isAs(name: string, wanted: string | number, shown: string | null | undefined): boolean {
  if (name in WARNINGS) return shown !== DEAF;
  return typeof wanted === 'number' ? Number(shown) === wanted : shown === wanted;
}

/** Where pg_settings says that a setting comes from that the connection asked for when it started. */
const ASKED_FOR = 'client';
const FIND_MS = 10_000;

/**
 * A pooler may give each transaction another connection. Some keep statements for their clients, under names of their own; where
 * ours arrives, the next connection will not know it.
 */
async function findWhatIsKept(orm: MikroORM): Promise<void> {
  const signal = AbortSignal.timeout(FIND_MS);
  const kept = await retrying(signal, () =>
    inTransaction(orm, signal, (em) =>
      row<{ ours: boolean }>(
        em,
        sql`SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = ${BEGIN_NAME}) AS ours`,
      ),
    ),
  );
  if (kept?.ours) pools.get(orm)?.names.giveUp();
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
