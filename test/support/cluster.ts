import { execFile } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { serverPrograms } from '../../faults/replicated.ts';
import { type Account, accountFor } from '../../src/db/embedded-account.ts';
import { embeddedBinaries } from '../../src/db/embedded-binaries.ts';
import { type Supervised, supervise } from '../../src/db/embedded-process.ts';
import { freePort } from './free-port.ts';

/** A PostgreSQL server of a cluster: the leader, or a standby. */
export interface Server {
  /** On 127.0.0.1, always the same. */
  readonly port: number;
  /** Connection string of one of its databases, as the superuser. */
  url(database?: string): string;
  /** Runs one statement as the superuser. */
  query(text: string, database?: string): Promise<Record<string, unknown>[]>;
  /** Starts another server that streams from this one and has all that it has. */
  standby(): Promise<Server>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** Servers of one cluster, in a folder of their own; they end with this process. */
export interface Cluster {
  readonly leader: Server;
  end(): Promise<void>;
}

const run = promisify(execFile);
const START_MS = 30_000;
const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'max_connections=100',
  'wal_keep_size=256MB',
  'fsync=off',
  'timezone=UTC',
  'log_min_error_statement=panic',
].flatMap((setting) => ['-c', setting]);

/** Starts a leader: of the embedded PostgreSQL's version, or of the installed one where tests run on another server. */
export async function startCluster(): Promise<Cluster> {
  const installed = process.env.TEST_DATABASE_URL ? serverPrograms() : undefined;
  const { initdb, postgres } = installed
    ? { initdb: join(installed, 'initdb'), postgres: join(installed, 'postgres') }
    : await embeddedBinaries();
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-cluster-'));
  const account = await accountFor({ initdb, folder, cluster: join(folder, 'postgres') });
  await account.own(folder);
  const site: Site = { folder, postgres, account, servers: [] };
  const data = await newFolder(site);
  const options = ['-D', data, '-U', 'postgres', '-N', '--auth=trust', '-E', 'UTF8', '--locale=C.UTF-8'];
  const made = supervise([initdb, ...options], account);
  const end = await made.exited;
  if (end !== 'exit code 0') throw new Error(`initdb failed, ${end}:\n${made.lastLines.join('\n')}`);
  return {
    leader: await serverIn(site, data),
    async end() {
      await Promise.all(site.servers.map((server) => server.stop()));
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

interface Site {
  readonly folder: string;
  readonly postgres: string;
  readonly account: Account;
  readonly servers: Server[];
}

async function newFolder({ folder, account, servers }: Site): Promise<string> {
  const data = join(folder, `${servers.length}`);
  await mkdir(data, { mode: 0o700 });
  await account.own(data);
  return data;
}

async function serverIn(site: Site, data: string): Promise<Server> {
  const port = await freePort();
  const url = (database = 'postgres') => `postgresql://postgres@127.0.0.1:${port}/${database}`;
  let running: Supervised | undefined;
  const server: Server = {
    port,
    url,
    query: (text, database) => asked(url(database), text),
    async standby() {
      const copy = await newFolder(site);
      await copyRunning(server, data, copy);
      await appendFile(join(copy, 'postgresql.auto.conf'), following(port));
      await writeFile(join(copy, 'standby.signal'), '');
      for (const name of ['backup_label', 'standby.signal']) await site.account.own(join(copy, name));
      return serverIn(site, copy);
    },
    async stop() {
      running?.end();
      await running?.exited;
    },
    async start() {
      running = supervise([site.postgres, '-D', data, '-p', `${port}`, ...SETTINGS], site.account);
      await answers(server, running);
    },
  };
  site.servers.push(server);
  await server.start();
  return server;
}

/** What a standby is told of whom it follows. */
function following(port: number): string {
  return `\nprimary_conninfo = 'host=127.0.0.1 port=${port} user=postgres'\n`;
}

/** Copies the files of a running server so that the copy can begin from them. */
async function copyRunning(server: Server, from: string, to: string): Promise<void> {
  const client = new pg.Client(server.url());
  await client.connect();
  try {
    await client.query("SELECT pg_backup_start('standby', TRUE)");
    // Files may come and go meanwhile; the log that is replayed puts that right.
    await run('cp', ['-a', `${from}/.`, to]).catch(() => {});
    const { rows } = await client.query('SELECT labelfile FROM pg_backup_stop()');
    await rm(join(to, 'postmaster.pid'), { force: true });
    await writeFile(join(to, 'backup_label'), rows[0].labelfile, { mode: 0o644 });
  } finally {
    await client.end();
  }
}

async function asked(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query(text)).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
}

async function answers(server: Server, running: Supervised): Promise<void> {
  const ready = () =>
    server.query('SELECT 1').then(
      () => true,
      () => false,
    );
  for (const end = Date.now() + START_MS; !(await ready()); await sleep(50))
    if (Date.now() > end) throw new Error(`PostgreSQL did not start:\n${running.lastLines.join('\n')}`);
}
