import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { migrations } from '../../migrations/index.ts';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { migrate, missingMigrations } from './migrate.ts';
import { createOrm } from './orm.ts';
import { forkFor } from './statement.ts';

const NAMES = migrations.map(({ name }) => name);

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await freshDatabase('template0');
  client = new pg.Client(database.url);
  await client.connect();
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

async function missing(): Promise<string[]> {
  const orm = createOrm({ url: database.url, pool: 1, poolWaitMs: 2_000, applicationName: 'test' }, []);
  try {
    return await missingMigrations(forkFor(orm));
  } finally {
    await orm.close();
  }
}

test('an empty database lacks every migration', async () => {
  expect(await missing()).toEqual(NAMES);
});

test('three start at once: one migrates, the others find it done', async () => {
  const ran = await Promise.all([1, 2, 3].map(() => migrate(database.url)));
  expect(ran.sort((a, b) => b.length - a.length)).toEqual([NAMES, [], []]);
  expect(await missing()).toEqual([]);
});

test('graphile-worker’s own tables are at the revision that one of the migrations is named after', async () => {
  const { rows } = await client.query('SELECT max(id) AS revision FROM graphile_worker.migrations');
  expect(NAMES.findLast((name) => name.includes('graphile-worker'))).toMatch(
    new RegExp(`-graphile-worker-${rows[0].revision}$`),
  );
});

test('again, nothing happens', async () => {
  expect(await migrate(database.url)).toEqual([]);
});

test('the lock is given back, also after a failure', async () => {
  const held = async () =>
    (await client.query(`SELECT count(*)::int AS count FROM pg_locks WHERE locktype = 'advisory'`)).rows[0].count;
  await client.query(`ALTER FUNCTION ensure_audit_partitions(integer) RENAME TO hidden`);
  await expect(migrate(database.url)).rejects.toThrow('ensure_audit_partitions');
  await client.query(`ALTER FUNCTION hidden(integer) RENAME TO ensure_audit_partitions`);
  for (let tries = 0; tries < 50 && (await held()) > 0; tries++) await new Promise((go) => setTimeout(go, 20));
  expect(await held()).toBe(0);
});

test('a migration that this build doesn’t know is fine: an upgrade expands first', async () => {
  await client.query(`INSERT INTO mikro_orm_migrations (name, executed_at) VALUES ('9999-of-a-newer-build', now())`);
  expect(await missing()).toEqual([]);
  expect(await migrate(database.url)).toEqual([]);
});

test('months of the audit log that have gone by are not made again, those ahead are', async () => {
  const partitions = async () =>
    (
      await client.query(`SELECT inhrelid::regclass::text AS name FROM pg_inherits
      WHERE inhparent = 'audit_event'::regclass ORDER BY 1`)
    ).rows.map(({ name }) => name);
  const before = await partitions();
  const last = before.at(-1);
  await client.query(`ALTER TABLE audit_event DETACH PARTITION ${last}; DROP TABLE ${last}`);
  await migrate(database.url);
  expect(await partitions()).toEqual(before);
});

test('a migration that is missing is named', async () => {
  await client.query(`DELETE FROM mikro_orm_migrations WHERE name = $1`, [NAMES.at(-1)]);
  expect(await missing()).toEqual([NAMES.at(-1)]);
});
