import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { type Postgres, startPostgres } from '../../faults/postgres.ts';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { instanceMetrics } from '../metrics/instance-metrics.ts';
import { createOrm } from './orm.ts';
import { type WalArchive, walArchive } from './wal-archive.ts';

const SEGMENT = 16 * 1024 * 1024;
const signal = AbortSignal.timeout(120_000);

let folder: string;
let postgres: Postgres;
let orm: MikroORM;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'amrutam-archive-'));
  postgres = await startPostgres(folder, ['fsync=off', 'archive_mode=on']);
  await postgres.query("CREATE ROLE nobody_special LOGIN PASSWORD 'nothing'");
  await postgres.query('CREATE TABLE change (name text)');
  const url = Object.assign(new URL(postgres.url()), { username: 'nobody_special', password: 'nothing' }).toString();
  orm = createOrm({ url, pool: 1, poolWaitMs: 30_000, applicationName: 'test' }, []);
}, 60_000);

afterAll(async () => {
  await orm?.close(true);
  await postgres?.end();
  await rm(folder, { recursive: true, force: true });
});

async function archiveBy(command: string): Promise<void> {
  await postgres.query(`ALTER SYSTEM SET archive_command = '${command}'`);
  await postgres.query('SELECT pg_reload_conf()');
}

async function fillSegments(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await postgres.query(`INSERT INTO change VALUES ('${i}')`);
    await postgres.query('SELECT pg_switch_wal()');
  }
}

/** What it says as soon as it is as `wanted`. */
async function archiveThat(wanted: (found: WalArchive) => boolean): Promise<WalArchive> {
  for (const end = Date.now() + 60_000; Date.now() < end; await sleep(50)) {
    const found = await walArchive(orm, signal);
    if (found && wanted(found)) return found;
  }
  throw new Error('it never came to that');
}

test('a role that may nothing sees that the archive fails, since when, how much waits, and that it is well again', async () => {
  await archiveBy('true');
  await fillSegments(2);
  const well = await archiveThat(({ waitingBytes = SEGMENT }) => waitingBytes < SEGMENT);
  expect(well).toMatchObject({ archivedAt: expect.any(Date), failedAt: undefined });
  await archiveBy('false');
  await fillSegments(4);
  const broken = await archiveThat(({ failedAt }) => failedAt !== undefined);
  expect(Number(broken.failedAt)).toBeGreaterThan(Number(broken.archivedAt));
  expect(broken.waitingBytes).toBeGreaterThanOrEqual(3 * SEGMENT);
  expect(broken.waitingBytes).toBeLessThan(10 * SEGMENT);
  await archiveBy('true');
  const mended = await archiveThat(({ waitingBytes = SEGMENT }) => waitingBytes < SEGMENT);
  expect(Number(mended.archivedAt)).toBeGreaterThan(Number(mended.failedAt));
});

test('where nothing is to be archived there is nothing to tell', async () => {
  const other: TestDatabase = await freshDatabase();
  const elsewhere = createOrm({ url: other.url, pool: 1, poolWaitMs: 2_000, applicationName: 'test' }, []);
  try {
    expect(await walArchive(elsewhere, signal)).toBeUndefined();
  } finally {
    await elsewhere.close(true);
    await other.drop();
  }
});

test('metrics have a value while there is one', async () => {
  let archive: WalArchive | undefined = { archivedAt: new Date(5_000), failedAt: undefined, waitingBytes: 7 };
  const { snapshot } = instanceMetrics({
    jobs: async () => [],
    archive: async () => archive,
    seals: async () => undefined,
  });
  const values = async () =>
    Object.fromEntries(
      (await snapshot())
        .filter(({ name }) => name.startsWith('wal_'))
        .map(({ name, values: [one] }) => [name, one?.value]),
    );
  expect(await values()).toEqual({
    wal_archived_timestamp_seconds: 5,
    wal_archive_failed_timestamp_seconds: 0,
    wal_unarchived_bytes: 7,
  });
  archive = undefined;
  expect(Object.values(await values())).toEqual([undefined, undefined, undefined]);
});
