import type { MikroORM } from '@mikro-orm/postgresql';
import type { Config } from './config.ts';
import { runningEmbedded, startEmbedded } from './db/embedded.ts';
import { migrate, missingMigrations, unknownMigrations } from './db/migrate.ts';
import { checkSettings, createOrm } from './db/orm.ts';
import { forkFor } from './db/statement.ts';
import { entities } from './entities.ts';

/** A database that is reachable and has every migration this build knows. */
export interface Database {
  readonly orm: MikroORM;
  /** A streaming replica of it, where there is one; whether it can be used is not known yet. */
  readonly replica: MikroORM | undefined;
  /** Where it is, password included: not for logs. */
  readonly url: string;
  /** Whether it came along: then this process may fill it. */
  readonly embedded: boolean;
  /** Resolves when an embedded server that this process has started ends; never otherwise. */
  readonly lost: Promise<void>;
  close(): Promise<void>;
}

const never = new Promise<void>(() => {});

/** A database that can't be used; the message says why and what to do. */
export class DatabaseError extends Error {}

/**
 * Opens the database that the configuration names: the given one, which must be migrated, or the embedded one, which is
 * started when it doesn't run - or shared with the process that runs it - and migrated. Throws DatabaseError.
 */
export async function openDatabase(
  config: Config,
  { share = false, warn }: { share?: boolean; warn?: (message: string) => void } = {},
): Promise<Database> {
  if (config.databaseUrl) {
    const orm = connect(config, config.databaseUrl, warn);
    await mustBeUsable(orm, warn);
    const replica = config.databaseReplicaUrl === undefined ? undefined : connect(config, config.databaseReplicaUrl);
    const close = async () => {
      await Promise.all([orm.close(), replica?.close()]);
    };
    return { orm, replica, url: config.databaseUrl, embedded: false, lost: never, close };
  }
  const running = share ? await runningEmbedded(config.dataDir) : undefined;
  const server = running ? undefined : await startEmbedded({ dataDir: config.dataDir });
  const url = running ?? (server?.url as string);
  const orm = connect(config, url, warn);
  const close = async () => {
    await orm.close();
    await server?.stop();
  };
  try {
    await migrate(url);
    await mustBeUsable(orm, warn);
  } catch (error) {
    await close();
    throw error;
  }
  return { orm, replica: undefined, url, embedded: true, lost: server?.exited ?? never, close };
}

function connect(
  { databasePool, poolWaitMs, instance }: Config,
  url: string,
  warn?: (message: string) => void,
): MikroORM {
  return createOrm({ url, pool: databasePool, poolWaitMs, applicationName: `amrutam ${instance}`, warn }, entities);
}

async function mustBeUsable(orm: MikroORM, warn?: (message: string) => void): Promise<void> {
  try {
    const em = forkFor(orm);
    const missing = await missingMigrations(em);
    if (missing.length) throw new DatabaseError(`${OLDER}: it lacks ${missing.join(', ')}. Run: npm run migrate`);
    const { expanding, contracting } = await unknownMigrations(em);
    if (contracting.length)
      throw new DatabaseError(`${NEWER}: it holds ${contracting.join(', ')}. Start a newer build`);
    if (expanding.length) warn?.(`the schema is newer than this build, which serves on: ${expanding.join(', ')}`);
    await checkSettings(orm);
  } catch (error) {
    await orm.close();
    throw error instanceof DatabaseError ? error : unreachable(error);
  }
}

const OLDER = "DATABASE_URL: the database's schema is older than this build";
const NEWER = "DATABASE_URL: the database's schema is newer than this build and takes away what it needs";

/** Says why without the URL, which holds a password. */
export function unreachable(error: unknown): DatabaseError {
  const { code, message } = error as { code?: string; message: string };
  const why = code && !message.includes(code) ? `${message || 'no answer'} (${code})` : message || String(code);
  return new DatabaseError(
    `DATABASE_URL: the database can't be used: ${why}. Is PostgreSQL running there, and are host, port, user, password and database right?`,
    { cause: error },
  );
}
