import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { Account } from './embedded-account.ts';
import { predecessorGone, SUPERUSER } from './embedded-cluster.ts';
import { type Supervised, supervise } from './embedded-process.ts';

const DATABASE = 'amrutam';
const PREDECESSOR_MS = 15_000;
const RECOVERY_MS = 60_000;

/** What a server needs to run: absolute paths, the account and its password. */
export interface Start {
  readonly cluster: string;
  readonly postgres: string;
  readonly account: Account;
  readonly password: string;
  readonly onLog?: ((line: string) => void) | undefined;
  readonly flags?: readonly string[] | undefined;
}

/** Connection string of a server of ours, to the product's database unless another is named. */
export function urlOf(password: string, port: number, database = DATABASE): string {
  return `postgresql://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}`;
}

/** What another start can cause: the port or the folder taken in between, the old server's memory not yet released. */
const PASSING = /Address already in use|"postmaster\.pid" already exists|pre-existing shared memory block/;

/**
 * Starts a server that accepts connections and has the product's database. Waits 15 s for a predecessor to end and 60 s
 * for recovery. Throws an Error with the last lines of its log; then no server of ours is left.
 */
export async function serve(start: Start): Promise<{ server: Supervised; port: number }> {
  const deadline = Date.now() + PREDECESSOR_MS;
  for (;;) {
    const stale = await predecessorGone(start.cluster, deadline);
    const port = await freePort();
    const ready = Promise.withResolvers<void>();
    const server = supervise(commandOf(start, port, stale), start.account, (line) => {
      if (line.includes('database system is ready to accept connections')) ready.resolve();
      start.onLog?.(line);
    });
    const failure = await failureOfStart(server, ready.promise, urlOf(start.password, port, 'postgres'));
    if (failure === undefined) return { server, port };
    server.end();
    await server.exited;
    const log = server.lastLines.join('\n');
    if (!PASSING.test(log) || Date.now() > deadline) throw new Error(`${failure}. Its last lines:\n${log}`);
    await delay(200);
  }
}

const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'shared_buffers=128MB',
  'max_connections=100',
  'fsync=on',
  'timezone=UTC',
  'log_timezone=UTC',
  'lc_messages=C',
  'log_destination=stderr',
  'logging_collector=off',
  'log_line_prefix=[%p] ',
  'log_checkpoints=off',
  'log_statement=none',
  // Errors and their DETAIL quote values, a patient's too. They reach our process anyway, which knows what to redact.
  'log_min_messages=log',
  'log_min_error_statement=panic',
  'log_error_verbosity=terse',
  'log_parameter_max_length=0',
  'log_parameter_max_length_on_error=0',
];

/**
 * With pg_ctl's own variable PostgreSQL takes the stale number in postmaster.pid for what it is, and still looks for
 * living remains of that server in shared memory, which removing the file would forgo.
 */
function commandOf({ cluster, postgres, flags = [] }: Start, port: number, stale: number | undefined): string[] {
  const ignoring = stale === undefined ? [] : ['env', `PG_GRANDPARENT_PID=${stale}`];
  const settings = [...SETTINGS, ...flags].flatMap((setting) => ['-c', setting]);
  return [...ignoring, postgres, '-D', cluster, '-p', `${port}`, ...settings];
}

async function failureOfStart(server: Supervised, ready: Promise<void>, url: string): Promise<string | undefined> {
  const early = await Promise.race([
    ready,
    server.exited.then((words) => `it ended, ${words}`),
    delay(RECOVERY_MS, `it was not ready within ${RECOVERY_MS / 1_000} s`, { ref: false }),
  ]);
  if (early !== undefined) return early;
  try {
    await connected(url, 10_000, createDatabase);
    return undefined;
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    return `it gave no connection: ${message}${code === WRONG_PASSWORD ? REMEDY : ''}`;
  }
}

const WRONG_PASSWORD = '28P01';
const REMEDY = ' (bring the right postgres.json back, or move both it and the folder postgres away to begin anew)';

async function createDatabase(client: Client): Promise<void> {
  const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
  if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
}

/** Does some work on a connection of its own; rejects when there is none within `timeoutMs` milliseconds. */
export async function connected<T>(url: string, timeoutMs: number, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: timeoutMs });
  client.on('error', () => {});
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((done, failed) => probe.once('error', failed).listen(0, '127.0.0.1', done));
  const { port } = probe.address() as AddressInfo;
  await new Promise((closed) => probe.close(closed));
  return port;
}
