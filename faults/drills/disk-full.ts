import { execFile } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Drill, notRun } from '../drill.ts';
import { type Postgres, startPostgres } from '../postgres.ts';
import { underLoad } from '../under-load.ts';

const run = promisify(execFile);
const SIZE = '180m';
const FULL_MS = 6_000;
const RECOVERY_MS = 5_000;
const CHUNK = Buffer.alloc(64 * 1024);

export const diskFull: Drill = {
  name: 'disk-full',
  story: 'the disk of the database is full for 6 s while 16 patients book, and then has room again',
  breaks: [
    {
      file: 'src/db/database-error.ts',
      from: 'if (/^53/.test(code))',
      to: 'if (/^59/.test(code))',
      means: 'a full disk is taken for a bug of ours',
    },
  ],
  async run(stage) {
    const disk = await mkdtemp(join(tmpdir(), 'amrutam-disk-'));
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${SIZE},mode=0755`, 'tmpfs', disk]);
    } catch {
      await rm(disk, { recursive: true });
      return notRun('the right to mount a small disk (root)');
    }
    let postgres: Postgres | undefined;
    try {
      const server = await startPostgres(disk, ['synchronous_commit=on', 'max_wal_size=64MB', 'min_wal_size=32MB']);
      postgres = server;
      return await underLoad({ ...stage, postgres: server }, {}, async ({ bookers }) => {
        const before = bookers.acknowledged.length;
        const ballast = join(disk, 'ballast');
        await fill(ballast);
        stage.say(`${before} booked; the disk is full`);
        await sleep(FULL_MS);
        const during = bookers.acknowledged.length - before;
        const refused = bookers.outcomes.filter(({ reason }) => reason === 'OVERLOADED').length;
        await rm(ballast);
        const recoveryMs = await servedAgain(server, performance.now(), (since) =>
          bookers.servedAfter(since, RECOVERY_MS),
        );
        if (!refused) throw new Error('the full disk was not noticed');
        return { recoveryMs, notes: [`${during} booked with what room was left, ${refused} told OVERLOADED`] };
      });
    } finally {
      await postgres?.end();
      await run('umount', ['-l', disk]).catch(() => {});
      await rm(disk, { recursive: true, force: true });
    }
  },
};

async function fill(file: string): Promise<void> {
  const ballast = await open(file, 'w');
  try {
    for (;;) await ballast.write(CHUNK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    await ballast.close();
  }
}

/** Without room for its log PostgreSQL ends by itself; whoever frees the disk starts it again. */
async function servedAgain(
  server: Postgres,
  freedAt: number,
  served: (since: number) => Promise<number>,
): Promise<number> {
  const up = await server.query('SELECT 1').then(
    () => true,
    () => false,
  );
  if (!up) await server.start();
  return served(up ? freedAt : performance.now());
}
