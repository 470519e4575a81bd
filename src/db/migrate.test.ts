import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { migrations } from '../../migrations/index.ts';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { jobFigures } from '../jobs/job-figures.ts';
import { wakeDelivery } from '../mail/wake-delivery.ts';
import { migrate, missingMigrations } from './migrate.ts';
import { createOrm } from './orm.ts';
import { forkFor } from './statement.ts';
import { migrateWorkerSchema, workerSchema } from './worker-schema.ts';

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

test('while one waits for a table, what an earlier one has locked is free again: calls of old instances get through', async () => {
  const old = await freshDatabase('template0');
  const orm = createOrm({ url: old.url, pool: 1, poolWaitMs: 2_000, applicationName: 'test', patient: true }, []);
  const booking = new pg.Client(old.url);
  await booking.connect();
  try {
    await migrateWorkerSchema(old.url);
    await orm.migrator.up({ to: '0008-graphile-worker-20' });
    await booking.query("SET lock_timeout = '1s'");
    await booking.query('SELECT ensure_audit_partitions(2)');
    await booking.query('BEGIN; SELECT FROM app_user FOR SHARE'); // as each call locks its caller
    const migrating = migrate(old.url);
    migrating.catch(() => {});
    const waits = `SELECT FROM pg_locks WHERE relation = 'app_user'::regclass AND NOT granted`;
    await eventually(async () => (await booking.query(waits)).rowCount === 1);
    await booking.query(
      `INSERT INTO audit_event (id, recorded_at, action, outcome, reason, entity_type, trace_id, client_address, instance, changed_fields, xid)
       VALUES (gen_random_uuid(), now(), 'BookSlot', 'DONE', '', 'slot', '', '', '', '{}', pg_current_xact_id())`,
    );
    await booking.query('COMMIT');
    expect((await migrating).at(-1)).toBe(NAMES.at(-1));
  } finally {
    await booking.end();
    await orm.close();
    await old.drop();
  }
});

test('a migration that is missing is named', async () => {
  await client.query(`DELETE FROM mikro_orm_migrations WHERE name = $1`, [NAMES.at(-1)]);
  expect(await missing()).toEqual([NAMES.at(-1)]);
});

test('clinics in one database, a schema each, have everything for themselves, their queues of background jobs too', async () => {
  const own = await freshDatabase('template0');
  const admin = new pg.Client(own.url);
  await admin.connect();
  const clinics = ['a', 'b'].map((name) => ({ schema: `clinic_${name}`, role: `${name}_${randomUUID().slice(0, 8)}` }));
  try {
    await admin.query('CREATE EXTENSION btree_gist; CREATE EXTENSION pg_trgm');
    for (const { schema, role } of clinics) {
      await admin.query(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD '${role}'; CREATE SCHEMA ${schema}`);
      await admin.query(`ALTER ROLE ${role} SET search_path = ${schema}, public`);
    }
    const urls = clinics.map(({ role }) =>
      Object.assign(new URL(own.url), { username: role, password: role }).toString(),
    );
    for (const url of urls) expect(await migrate(url)).toEqual(NAMES);
    const orms = urls.map((url) => createOrm({ url, pool: 1, poolWaitMs: 2_000, applicationName: 'test' }, []));
    const [a, b] = await Promise.all(orms.map((orm) => workerSchema(orm)));
    expect([a, b]).toEqual(['clinic_a_worker', 'clinic_b_worker']);
    await admin.query(`SELECT ${a}.add_job('purge-answers', run_at => now() - interval '1 hour')`);
    const lags = await Promise.all(orms.map((orm) => jobFigures(orm, AbortSignal.timeout(5_000))));
    expect(lags.map(([first]) => Math.floor((first?.lagSeconds ?? 0) / 3_600))).toEqual([1, 0]);
    for (const orm of orms) await wakeDelivery(forkFor(orm));
    for (const schema of [a, b])
      expect((await admin.query(`SELECT FROM ${schema}.jobs WHERE task_identifier = 'deliver-mails'`)).rowCount).toBe(
        1,
      );
    for (const orm of orms) await orm.close();
    const { rows } = await admin.query(
      `SELECT nspname FROM pg_namespace WHERE nspname IN ('graphile_worker', 'public_worker')`,
    );
    expect(rows).toEqual([]);
  } finally {
    await admin.end();
    await own.drop();
    for (const { role } of clinics) await client.query(`DROP ROLE IF EXISTS ${role}`);
  }
});
