import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { type Supervised, supervise } from '../src/db/embedded-process.ts';
import { freePort } from '../test/support/free-port.ts';
import type { Postgres } from './postgres.ts';
import { accountIn } from './server-account.ts';

/** A leader, and a standby that has every COMMIT before it is acknowledged. `url`, `port` and `query` are the leader's. */
export interface Replicated extends Pick<Postgres, 'url' | 'port' | 'query'> {
  /** Promotes the standby and turns the old leader read-only, as a failover manager does. */
  failOver(): Promise<void>;
  /** Runs one statement at the leader that was. */
  queryOld(text: string): Promise<Record<string, unknown>[]>;
  end(): Promise<void>;
}

const PROGRAMS = ['initdb', 'postgres', 'pg_basebackup'];
const START_MS = 30_000;
const run = promisify(execFile);

/** The folder of PostgreSQL's server programs, replication's among them; undefined when none is installed. */
export function serverPrograms(): string | undefined {
  const base = '/usr/lib/postgresql';
  const folders = listed(base).map((version) => join(base, version, 'bin'));
  return folders.findLast((folder) => PROGRAMS.every((name) => listed(folder).includes(name)));
}

/** Starts both on free ports of 127.0.0.1; they end with this process. */
export async function startReplicated(programs: string): Promise<Replicated> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-replicated-'));
  const account = await accountIn(folder);
  const as = { ...account, cwd: folder };
  const tool = (name: string) => join(programs, name);
  const [leaderAt, standbyAt] = [await freePort(), await freePort()];
  const data = (name: string) => join(folder, name);
  const launch = (name: string, port: number): Supervised =>
    supervise([tool('postgres'), '-D', data(name), '-p', `${port}`, ...SETTINGS], {
      spawnAs: account,
      via: [],
      own: async () => {},
    });

  await run(
    tool('initdb'),
    ['-D', data('leader'), '-U', 'postgres', '-N', '--auth=trust', '-E', 'UTF8', '--locale=C.UTF-8'],
    as,
  );
  const leader = launch('leader', leaderAt);
  await answers(leaderAt, leader);
  const from = ['-h', '127.0.0.1', '-p', `${leaderAt}`, '-U', 'postgres'];
  await run(tool('pg_basebackup'), [...from, '-D', data('standby'), '-R', '-X', 'stream', '--checkpoint=fast'], as);
  const standby = launch('standby', standbyAt);
  await answers(standbyAt, standby);
  await asked(leaderAt, "ALTER SYSTEM SET synchronous_standby_names = '*'");
  await asked(leaderAt, 'SELECT pg_reload_conf()');
  await until(
    async () => (await asked(leaderAt, "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")).length === 1,
  );

  let port = leaderAt;
  return {
    url: (database = 'postgres') => urlOf(port, database),
    get port() {
      return port;
    },
    query: (text, database) => asked(port, text, database),
    queryOld: (text) => asked(leaderAt, text),
    async failOver() {
      await asked(standbyAt, 'SELECT pg_promote()');
      port = standbyAt;
      await asked(leaderAt, 'ALTER SYSTEM SET default_transaction_read_only = on');
      await asked(leaderAt, 'SELECT pg_reload_conf()');
    },
    async end() {
      for (const server of [leader, standby]) server.end();
      await Promise.all([leader.exited, standby.exited]);
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'max_connections=200',
  'fsync=off',
  'log_min_error_statement=panic',
].flatMap((setting) => ['-c', setting]);

/** Connection string of a database of the server at `port`. */
export const urlOf = (port: number, database: string) => `postgresql://postgres@127.0.0.1:${port}/${database}`;

/** Runs one statement as the superuser. */
export async function asked(port: number, text: string, database = 'postgres'): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: urlOf(port, database), connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(text)).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
}

/** Resolves when `server` accepts connections at `port`. Throws with what it wrote. */
export async function answers(port: number, server: Supervised): Promise<void> {
  await until(() => asked(port, 'SELECT 1').then(() => true)).catch(() => {
    throw new Error(`PostgreSQL did not start:\n${server.lastLines.join('\n')}`);
  });
}

async function until(done: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + START_MS; !(await done().catch(() => false)); await sleep(100))
    if (Date.now() > end) throw new Error('it took too long');
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
