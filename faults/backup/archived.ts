import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chown, cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Supervised, supervise } from '../../src/db/embedded-process.ts';
import { freePort } from '../../test/support/free-port.ts';
import type { Postgres } from '../postgres.ts';
import { answers, asked, urlOf } from '../replicated.ts';
import { accountIn } from '../server-account.ts';

/** How a program ended, and what it wrote. */
export interface Ran {
  readonly code: number;
  readonly output: string;
  readonly ms: number;
}

/** A server whose WAL is archived as deploy/pgbackrest sets it up, and the scripts from there. */
export interface Archived extends Pick<Postgres, 'url' | 'port' | 'query'> {
  /** Of the server, such as 15. */
  readonly version: number;
  /** Folders of the backups and of the archived WAL. */
  readonly backups: string;
  readonly wal: string;
  /** A path for a copy of the data. */
  aside(name: string): string;
  /** Where both lie. */
  readonly repository: string;
  schedule(command: 'now' | 'verify' | 'wake' | 'status'): Promise<Ran>;
  /** Has the scheduler make backups by itself from now on, until the end. Answers where Prometheus may ask it. */
  runScheduler(): Promise<string>;
  restore(...args: readonly string[]): Promise<Ran>;
  /** Resolves when everything written so far is archived. */
  archiveAll(): Promise<void>;
  /** kill -9; with `andData` the data directory is deleted too. Resolves when none of its processes is left. */
  kill(how?: { readonly andData: boolean }): Promise<void>;
  /** Starts it again; resolves when it accepts connections. */
  start(): Promise<void>;
  end(): Promise<void>;
}

const run = promisify(execFile);
const STANZA = 'amrutam';
const SETTINGS = [
  "listen_addresses = '127.0.0.1'",
  'max_connections = 200',
  'max_wal_size = 4GB',
  'fsync = off',
  'log_min_error_statement = panic',
];

/** Makes a cluster and an encrypted repository in a new folder, with PostgreSQL's `programs` and the scripts of `root`. */
export async function startArchived(programs: string, root: string): Promise<Archived> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-archived-'));
  const account = await accountIn(folder);
  const place: Place = { programs, folder, account, port: await freePort() };
  try {
    await makeCluster(place, root);
    return await serve(place);
  } catch (error) {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    throw error;
  }
}

interface Place {
  readonly programs: string;
  readonly folder: string;
  readonly account: { readonly uid?: number; readonly gid?: number };
  readonly port: number;
}

const dataIn = ({ folder }: Place) => join(folder, 'data');
const scriptsIn = ({ folder }: Place) => join(folder, 'pgbackrest');
const repositoryIn = ({ folder }: Place) => join(folder, 'repository');
const lockIn = ({ folder }: Place) => join(folder, 'lock');

/** What tells pgBackRest and the scripts that they are not where pgbackrest.conf says. */
function environment(place: Place): Record<string, string> {
  return {
    PATH: [place.programs, process.env.PATH].join(delimiter),
    LC_ALL: 'C',
    TMPDIR: place.folder,
    PGDATA: dataIn(place),
    PGUSER: 'postgres',
    PGBACKREST_CONFIG: join(scriptsIn(place), 'pgbackrest.conf'),
    PGBACKREST_PG1_PATH: dataIn(place),
    PGBACKREST_PG1_PORT: `${place.port}`,
    PGBACKREST_PG1_SOCKET_PATH: place.folder,
    PGBACKREST_PG1_USER: 'postgres',
    PGBACKREST_REPO1_PATH: repositoryIn(place),
    PGBACKREST_REPO1_CIPHER_PASS: 'a passphrase of this drill',
    PGBACKREST_LOCK_PATH: lockIn(place),
    BACKUP_FAILURE_FILE: join(place.folder, 'failure'),
  };
}

/** How programs are run there. */
const as = (place: Place) => ({
  ...place.account,
  cwd: place.folder,
  env: environment(place),
  maxBuffer: 64 * 1024 * 1024,
});

async function makeCluster(place: Place, root: string): Promise<void> {
  const { account, folder, port } = place;
  await cp(join(root, 'deploy', 'pgbackrest'), scriptsIn(place), { recursive: true });
  for (const made of [repositoryIn(place), lockIn(place)]) {
    await mkdir(made);
    if (account.uid !== undefined && account.gid !== undefined) await chown(made, account.uid, account.gid);
  }
  const options = ['-U', 'postgres', '-N', '-k', '--auth=trust', '-E', 'UTF8', '--locale=C.UTF-8'];
  await run(join(place.programs, 'initdb'), ['-D', dataIn(place), ...options], as(place));
  await run(join(scriptsIn(place), 'initdb.sh'), [], as(place));
  const settings = [...SETTINGS, `port = ${port}`, `unix_socket_directories = '${folder}'`];
  await appendFile(join(dataIn(place), 'postgresql.conf'), `${settings.join('\n')}\n`);
}

async function runScript(place: Place, name: string, args: readonly string[]): Promise<Ran> {
  const startedAt = performance.now();
  const ended = (code: number, { stdout = '', stderr = '' }): Ran => ({
    code,
    output: stdout + stderr,
    ms: performance.now() - startedAt,
  });
  return run(join(scriptsIn(place), name), args, as(place)).then(
    (done) => ended(0, done),
    (error) => ended(Number(error.code) || -1, error),
  );
}

async function serve(place: Place): Promise<Archived> {
  const { programs, folder, account, port } = place;
  const data = dataIn(place);
  let server: Supervised;
  let scheduler: ChildProcess | undefined;
  const start = async () => {
    const via = ['env', ...Object.entries(environment(place)).map(([name, value]) => `${name}=${value}`)];
    server = supervise([join(programs, 'postgres'), '-D', data], { spawnAs: account, via, own: async () => {} });
    await answers(port, server);
  };
  const query = (text: string, database?: string) => asked(port, text, database);
  await start();
  const [found] = await query("SELECT current_setting('server_version_num')::integer / 10000 AS version");
  const version = Number(found?.version);
  return {
    version,
    port,
    url: (database = 'postgres') => urlOf(port, database),
    query,
    backups: join(repositoryIn(place), 'backup', STANZA),
    wal: join(repositoryIn(place), 'archive', STANZA, `${version}-1`),
    aside: (name) => join(folder, name),
    repository: repositoryIn(place),
    async runScheduler() {
      const metrics = `127.0.0.1:${await freePort()}`;
      scheduler = spawn(join(scriptsIn(place), 'schedule.sh'), {
        ...as(place),
        env: { ...environment(place), BACKUP_METRICS: metrics },
        stdio: 'ignore',
      });
      return metrics;
    },
    schedule: (command) => runScript(place, 'schedule.sh', [command]),
    restore: (...args) => runScript(place, 'restore.sh', args),
    async archiveAll() {
      await query("SELECT pg_logical_emit_message(true, 'drill', 'a segment without anything in it is not archived')");
      const [switched] = await query('SELECT pg_walfile_name(pg_switch_wal()) AS name');
      const archived = async () =>
        (await query('SELECT last_archived_wal AS name FROM pg_stat_archiver'))[0]?.name as string | undefined;
      while (((await archived()) ?? '') < `${switched?.name}`) await sleep(50);
    },
    async kill({ andData } = { andData: false }) {
      const [pid] = (await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n');
      process.kill(Number(pid), 'SIGKILL');
      await server.exited;
      while (await usedBySomebody(data)) await sleep(20);
      if (andData) await rm(data, { recursive: true });
    },
    start,
    async end() {
      if (scheduler?.kill()) await once(scheduler, 'exit');
      server.end();
      await server.exited;
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** PostgreSQL's processes work in their data directory. */
async function usedBySomebody(data: string): Promise<boolean> {
  const { stdout } = await run('find', ['/proc', '-maxdepth', '2', '-name', 'cwd', '-lname', data]).catch(
    ({ stdout }: { stdout: string }) => ({ stdout }),
  );
  return stdout !== '';
}
