import { Migrator } from '@mikro-orm/migrations';
import { type EntitySchema, MikroORM, type Options } from '@mikro-orm/postgresql';
import pg from 'pg';
import { migrations } from '../../migrations/index.ts';

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

/** Milliseconds, set for each connection when it starts: a stuck statement, lock or transaction ends by itself. */
const TIMEOUTS = { lock_timeout: 2_000, statement_timeout: 5_000, idle_in_transaction_session_timeout: 5_000 } as const;

/** How rows arrive: instants as Date (MikroORM's default leaves them text), bigint as number: all of ours are counts. */
const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, Number);

/** Makes the ORM; no connection is opened before the first statement. */
export function createOrm(database: DatabaseOptions, entities: readonly EntitySchema[]): MikroORM {
  const options: Options = {
    clientUrl: database.url,
    entities: [...entities],
    extensions: [Migrator],
    migrations: { migrationsList: migrations, snapshot: false, transactional: true, allOrNothing: true },
    pool: { min: 0, max: database.pool, idleTimeoutMillis: 30_000 },
    forceUtcTimezone: true,
    discovery: { warnWhenNoEntities: false },
    loggerFactory: () => quietLogger(database.warn ?? (() => {})),
    driverOptions: {
      connectionTimeoutMillis: database.poolWaitMs,
      application_name: database.applicationName,
      keepAlive: true,
      types,
      options: [
        '-c timezone=UTC',
        ...Object.entries(database.patient ? {} : TIMEOUTS).map(([name, ms]) => `-c ${name}=${ms}`),
      ].join(' '),
    },
  };
  return new MikroORM(options);
}

/** Throws when the server, or a pooler before it, has ignored the time-outs: without them one stuck call holds others for ever. */
export async function checkTimeouts(orm: MikroORM): Promise<void> {
  for (const [name, wanted] of Object.entries(TIMEOUTS)) {
    const [shown] = await orm.em
      .fork()
      .execute<{ ms: string }[]>(`SELECT setting AS ms FROM pg_settings WHERE name = '${name}'`);
    if (Number(shown?.ms) !== wanted) {
      throw new Error(
        `DATABASE_URL: the connection has ${name} = ${shown?.ms} ms instead of ${wanted} ms. A pooler that drops start-up options is in between? Set it on the role: ALTER ROLE … SET ${name} = ${wanted}`,
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
