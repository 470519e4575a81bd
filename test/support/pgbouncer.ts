import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { accountIn } from '../../faults/server-account.ts';
import { freePort } from './free-port.ts';

const version = /PgBouncer (\d+)\.(\d+)/.exec(`${spawnSync('pgbouncer', ['--version']).stdout}`);
/** Whether a pgbouncer can be started here. */
export const hasPgbouncer = version !== null;
/** Whether statements stay prepared for its clients: from 1.21 on, when its configuration says so. */
export const keepsStatements = Number(version?.[1]) > 1 || Number(version?.[2]) >= 21;
if (!hasPgbouncer)
  process.stderr.write('NOT TESTED: what needs PgBouncer, because there is no pgbouncer on the PATH.\n');

/** A real PgBouncer in transaction mode, as deploy/pgbouncer sets it up. */
export interface TestPgbouncer {
  /** URL of a database of the server behind it. */
  url(database: string): string;
  readonly port: number;
  /** Runs a command of its console, such as PAUSE or SHOW SERVERS. */
  command(text: string): Promise<Record<string, unknown>[]>;
  /** kill -9. */
  kill(): Promise<void>;
  /** Starts it again at the same address. */
  start(): Promise<void>;
  /** Stops answering without closing anything, until `thaw`. */
  freeze(): void;
  thaw(): void;
  end(): Promise<void>;
}

const ROOT = join(import.meta.dirname, '..', '..');
const START_MS = 10_000;

/** Starts it on a free port before the server at `url`; `settings` take the place of those in the file, which is the one of `root`. */
export async function startPgbouncer(
  url: string,
  settings: Readonly<Record<string, string | number>> = {},
  root = ROOT,
): Promise<TestPgbouncer> {
  const server = new URL(url);
  const user = decodeURIComponent(server.username);
  const password = decodeURIComponent(server.password) || 'not asked for by the server';
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-pgbouncer-'));
  const port = await freePort();
  const file = join(folder, 'pgbouncer.ini');
  const users = join(folder, 'userlist.txt');
  await writeFile(users, `"${user}" "${password}"\n`);
  const kept: Readonly<Record<string, number>> = keepsStatements ? { max_prepared_statements: 400 } : {};
  const own = { listen_addr: '127.0.0.1', listen_port: port, auth_file: users, admin_users: user, ...kept };
  const place = `* = host=${server.hostname} port=${server.port || 5432}`;
  await writeFile(
    file,
    withSettings(await readFile(join(root, 'deploy', 'pgbouncer', 'pgbouncer.ini'), 'utf8'), place, {
      ...own,
      ...settings,
    }),
  );
  const account = await accountIn(folder);
  const launch = () => spawn('pgbouncer', [file], { ...account, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let child: ChildProcess;
  let log = '';
  const urlOf = (database: string) =>
    `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
  const command = async (text: string) => {
    const client = new pg.Client({ connectionString: urlOf('pgbouncer'), connectionTimeoutMillis: 2_000 });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(text)).rows as Record<string, unknown>[];
    } finally {
      client.end().catch(() => {});
    }
  };
  const start = async () => {
    child = launch();
    child.on('error', () => {});
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      log += chunk;
    });
    for (const end = Date.now() + START_MS; ; await sleep(20)) {
      if (await command('SHOW VERSION').catch(() => undefined)) return;
      if (Date.now() > end || child.exitCode !== null) throw new Error(`pgbouncer did not start:\n${log}`);
    }
  };
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  await start();
  return {
    url: urlOf,
    port,
    command,
    kill,
    start,
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async end() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The file with another place for its one database, and other values for some settings. */
function withSettings(config: string, place: string, settings: Readonly<Record<string, string | number>>): string {
  const placed = config.replace(/^amrutam = .*$/m, place);
  if (placed === config) throw new Error('deploy/pgbouncer/pgbouncer.ini has no database amrutam');
  return Object.entries(settings).reduce((text, [name, value]) => {
    const line = new RegExp(`^;?${name} = .*$`, 'm');
    return line.test(text) ? text.replace(line, `${name} = ${value}`) : `${text}${name} = ${value}\n`;
  }, placed);
}

/** Sets in the database of `url` what docs/failover.md says that instances behind a pooler need there. */
export async function setForPoolers(url: string): Promise<void> {
  const page = await readFile(join(ROOT, 'docs', 'failover.md'), 'utf8');
  const statements = page.match(/^ALTER DATABASE amrutam SET .*;$/gm) ?? [];
  const client = new pg.Client(url);
  await client.connect();
  const name = new URL(url).pathname.slice(1);
  for (const statement of statements) await client.query(statement.replace(' amrutam ', ` ${name} `));
  await client.end();
}
