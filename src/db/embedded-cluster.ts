import { execFile } from 'node:child_process';
import { access, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Account } from './embedded-account.ts';
import { supervise } from './embedded-process.ts';
import { readSecret } from './embedded-secret.ts';

/** The superuser, whose name is the same in every embedded cluster. */
export const SUPERUSER = 'postgres';

/**
 * Makes a cluster in `<folder>/postgres` unless one is there, and says whether it did. It appears complete or not at
 * all: what an interrupted attempt left behind is removed by the next.
 * Throws an Error with initdb's last lines.
 */
export async function createCluster(at: {
  folder: string;
  initdb: string;
  account: Account;
  password: string;
}): Promise<boolean> {
  const cluster = join(at.folder, 'postgres');
  await removeAbandoned(at.folder);
  if (await isCluster(cluster)) return false;
  const draft = join(at.folder, `postgres.init-${process.pid}`);
  try {
    await mkdir(draft, { mode: 0o700 });
    await writeFile(join(draft, 'password'), at.password, { mode: 0o600 });
    await at.account.own(join(draft, 'password'));
    await at.account.own(draft);
    await initdb(draft, at);
    return await moveInto(cluster, draft);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function initdb(draft: string, { initdb, account }: { initdb: string; account: Account }): Promise<void> {
  const program = supervise(
    [
      initdb,
      `--pgdata=${join(draft, 'data')}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${join(draft, 'password')}`,
      '--auth=scram-sha-256',
      '--data-checksums',
      '--encoding=UTF8',
      '--locale=C',
      // pg_trgm asks it what a letter is: with C, names in Indian scripts would have none.
      `--lc-ctype=${process.platform === 'darwin' ? 'UTF-8' : 'C.UTF-8'}`,
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
    ],
    account,
  );
  const end = await program.exited;
  if (end !== 'exit code 0') throw new Error(`initdb failed, ${end}:\n${program.lastLines.join('\n')}`);
}

/** False when another process, making one at the same time, was faster. */
async function moveInto(cluster: string, draft: string): Promise<boolean> {
  try {
    await rename(join(draft, 'data'), cluster);
  } catch (error) {
    if (await isCluster(cluster)) return false;
    throw error;
  }
  const folder = await open(dirname(cluster));
  await folder.sync().finally(() => folder.close());
  return true;
}

async function isCluster(cluster: string): Promise<boolean> {
  return access(join(cluster, 'PG_VERSION')).then(
    () => true,
    () => false,
  );
}

async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = Number(/^postgres\.(?:init-|json\.)(\d+)$/.exec(name)?.[1]);
    if (pid && (pid === process.pid || !isAlive(pid)))
      await rm(join(folder, name), { recursive: true, force: true, maxRetries: 5 });
  }
}

/**
 * Waits until no server runs in `cluster`: one whose owner has just been killed takes a moment to shut down.
 * Resolves to the pid a crash left in `postmaster.pid`, if any: PostgreSQL would take an unrelated process that has got
 * this number since for a living server, so tell it otherwise.
 * Throws an Error with the pids at `deadline` (milliseconds, as Date.now), or after 2 s when the process of ours whose
 * server it is lives on.
 */
export async function predecessorGone(cluster: string, deadline: number): Promise<number | undefined> {
  const patience = Date.now() + 2_000;
  for (;;) {
    const { pid, status } = await postmasterFile(cluster);
    if (pid === undefined || !isAlive(pid) || !(await isServerOf(cluster, pid))) return pid;
    const owner = (await readSecret(dirname(cluster)))?.owner;
    const serving = status !== 'stopping' && owner !== undefined && isAlive(owner);
    if (Date.now() > (serving ? Math.min(patience, deadline) : deadline)) {
      const who = owner === undefined ? '' : `, started by process ${owner}`;
      throw new Error(`another server uses it, pid ${pid}${who}: stop that one, or set DATA_DIR to another folder`);
    }
    await delay(50);
  }
}

/** Lines of the file: pid, data folder, start time, port, socket folder, address, shared memory key, status. */
async function postmasterFile(cluster: string): Promise<{ pid?: number; status?: string | undefined }> {
  const lines = await readFile(join(cluster, 'postmaster.pid'), 'utf8').then(
    (text) => text.split('\n'),
    () => [],
  );
  const pid = Math.abs(Number(lines[0]));
  return pid > 0 ? { pid, status: lines[7]?.trim() } : {};
}

/** By its command line, as PostgreSQL keeps it: a zombie has none and so counts as gone. */
async function isServerOf(cluster: string, pid: number): Promise<boolean> {
  const command =
    process.platform === 'linux'
      ? await readFile(`/proc/${pid}/cmdline`, 'utf8').then(
          (text) => text.replaceAll('\0', ' '),
          () => '',
        )
      : await promisify(execFile)('ps', ['-ww', '-o', 'args=', '-p', `${pid}`]).then(
          ({ stdout }) => stdout,
          () => '',
        );
  return command.includes(` -D ${cluster} `);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
