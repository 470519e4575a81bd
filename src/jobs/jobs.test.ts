import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { query } from '../../test/support/calls.ts';
import { sentToken } from '../../test/support/mails.ts';
import { person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { createOrm } from '../db/orm.ts';
import { sql } from '../db/sql.ts';
import { forkFor, rows } from '../db/statement.ts';
import { wakeDelivery } from '../mail/wake-delivery.ts';
import { freeAbandoned } from './free-abandoned.ts';
import { jobFigures } from './job-figures.ts';
import { JOBS } from './jobs.ts';
import { registerJobs, takeLease } from './lease.ts';
import { perform } from './perform.ts';

const LEASE_MS = 30_000;

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
  await registerJobs(
    server.orm,
    JOBS.map(({ name }) => name),
  );
});
afterAll(() => server.stop());

/** Does the job; answers how many things it has changed. */
async function done(name: string, orm = server.orm): Promise<number> {
  const job = JOBS.find((one) => one.name === name);
  if (!job) throw new Error(`no such job: ${name}`);
  const { signal } = new AbortController();
  return (await perform(job, { orm, holder: randomUUID(), leaseMs: LEASE_MS, signal })).changed;
}

const count = async (table: string) =>
  (await query<{ n: number }>(server, sql`SELECT count(*) AS n FROM ${sql.ref(table)}`))[0]?.n;

const oldAnswers = (n: number) =>
  query(
    server,
    sql`INSERT INTO idempotency SELECT gen_random_uuid(), 'BookSlot', gen_random_uuid(), ''::bytea, 0, ''::bytea, now() - interval '8 days'
        FROM generate_series(1, ${n})`,
  );

/** Takes the last partition of the audit log away; answers its name. */
async function loseMonth(): Promise<string> {
  const [last] = await query<{ name: string }>(
    server,
    sql`SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_event'::regclass ORDER BY 1 DESC LIMIT 1`,
  );
  const name = last?.name ?? '';
  await query(server, sql`ALTER TABLE audit_event DETACH PARTITION ${sql.ref(name)}`);
  await query(server, sql`DROP TABLE ${sql.ref(name)}`);
  return name;
}

/** A doctor with a schedule of a slot a day for a week, whose slots are to be made; answers the id. */
async function dueDoctor(): Promise<string> {
  const { id } = await person(server, 'DOCTOR');
  const windows = [1, 2, 3, 4, 5, 6, 7].map((weekday) => ({
    weekday,
    start: 600,
    end: 630,
    slotMinutes: 30,
    breakMinutes: 0,
  }));
  await query(
    server,
    sql`INSERT INTO schedule (id, doctor_id, time_zone, from_date, windows, advance_days, state, created_at, updated_at)
        VALUES (gen_random_uuid(), ${id}, 'UTC', now()::date + 1, ${JSON.stringify(windows)}, 8, 'ACTIVE', now(), now())`,
  );
  await query(server, sql`INSERT INTO agenda (doctor_id, due_at, filled_at) VALUES (${id}, now(), now())`);
  return id;
}

const isThere = async (name: string) =>
  (await query<{ there: boolean }>(server, sql`SELECT to_regclass(${name}) IS NOT NULL AS there`))[0]?.there;

test('answers are deleted after seven days, in batches, and younger ones stay', async () => {
  await oldAnswers(2500);
  await query(
    server,
    sql`INSERT INTO idempotency VALUES (gen_random_uuid(), 'BookSlot', gen_random_uuid(), '', 0, '', now() - interval '6 days 23 hours')`,
  );
  expect(await done('purge-answers')).toBe(2500);
  expect(await count('idempotency')).toBe(1);
});

test('sessions go thirty days after their end, with their refresh tokens, and live ones stay', async () => {
  const [ended, live] = [await person(server, 'PATIENT'), await person(server, 'PATIENT')];
  await query(server, sql`UPDATE session SET revoked_at = now() - interval '31 days' WHERE id = ${ended.sessionId}`);
  await query(
    server,
    sql`INSERT INTO refresh_token VALUES (gen_random_uuid(), ${ended.sessionId}, sha256('x'), now(), NULL, NULL)`,
  );
  expect(await done('purge-sessions')).toBe(1);
  expect(await query(server, sql`SELECT id FROM session`)).toEqual([{ id: live.sessionId }]);
  expect(await count('refresh_token')).toBe(0);
});

test('places of sign-ins: a day after the last wrong password, half a year after the last right one', async () => {
  const { id } = await person(server, 'PATIENT');
  const ages = ['23 hours', '25 hours', '179 days', '181 days'].map((age, i) => ({ age, known: i > 1 }));
  for (const { age, known } of ages)
    await query(
      server,
      sql`INSERT INTO sign_in_place VALUES (gen_random_uuid(), ${id}, ${age}, 5, NULL,
            CASE WHEN ${known}::boolean THEN now() - ${age}::interval END, now() - ${age}::interval)`,
    );
  expect(await done('purge-sign-in-places')).toBe(2);
  const kept = await query(server, sql`SELECT network FROM sign_in_place ORDER BY network`);
  expect(kept).toEqual([{ network: '179 days' }, { network: '23 hours' }]);
});

test('missing partitions of the audit log are made', async () => {
  const month = await loseMonth();
  expect(await done('extend-audit-log')).toBe(1);
  expect(await isThere(month)).toBe(true);
  expect(await done('extend-audit-log')).toBe(0);
});

test('a run that would be the second at once ends before it has done anything', async () => {
  await oldAnswers(1);
  await query(server, sql`UPDATE job SET holder = 'another', seen_at = now() WHERE name = 'purge-answers'`);
  await expect(done('purge-answers')).rejects.toThrow('another run is at purge-answers');
  await query(server, sql`UPDATE job SET seen_at = now() - interval '31 seconds' WHERE name = 'purge-answers'`);
  expect(await done('purge-answers')).toBe(1);
});

test('a run whose lease was taken over can do nothing more', async () => {
  const { signal } = new AbortController();
  const options = { orm: server.orm, job: 'purge-answers', leaseMs: LEASE_MS, signal };
  const lease = await takeLease({ ...options, holder: 'first' });
  await oldAnswers(1);
  await query(server, sql`UPDATE job SET seen_at = now() - interval '31 seconds' WHERE name = 'purge-answers'`);
  const second = await takeLease({ ...options, holder: 'second' });
  const purgeAll = (em: EntityManager) => rows(em, sql`DELETE FROM idempotency`);
  await expect(lease.step(purgeAll)).rejects.toThrow('another run has taken over purge-answers');
  for (const end of [lease.succeeded(), lease.failed(new Error('late')), lease.dropped()]) await end;
  expect(await count('idempotency')).toBeGreaterThan(0);
  await second.step(purgeAll);
  expect(await count('idempotency')).toBe(0);
  await second.succeeded();
});

test('figures say for how long a job is due and not done, how often it failed, and when it was done', async () => {
  const figures = async () => {
    const all = await jobFigures(server.orm, AbortSignal.timeout(5_000));
    expect(all.map(({ name }) => name)).toEqual(JOBS.map(({ name }) => name));
    return all[0];
  };
  await done('purge-answers');
  expect(await figures()).toEqual({
    name: 'purge-answers',
    lagSeconds: 0,
    failures: 0,
    succeededAt: expect.any(Date),
  });
  await query(server, sql`SELECT graphile_worker.add_job('purge-answers', run_at => now() - interval '10 minutes')`);
  await query(server, sql`SELECT graphile_worker.add_job('purge-answers', run_at => now() + interval '1 day')`);
  await query(server, sql`UPDATE job SET failures = 3 WHERE name = 'purge-answers'`);
  const due = await figures();
  expect(due).toMatchObject({ failures: 3 });
  expect(due?.lagSeconds).toBeGreaterThanOrEqual(600);
  expect(due?.lagSeconds).toBeLessThan(660);
});

test('mails go after thirty days, with their tokens, whatever became of them, and younger ones stay', async () => {
  const { id } = await person(server, 'PATIENT');
  for (const kind of ['VERIFICATION', 'PASSWORD_RESET'] as const) await sentToken(server, id, kind);
  await query(server, sql`UPDATE mail SET created_at = now() - interval '31 days' WHERE kind = 'VERIFICATION'`);
  expect(await done('purge-mails')).toBe(1);
  expect(await query(server, sql`SELECT kind FROM mail JOIN mail_token ON mail_id = id`)).toEqual([
    { kind: 'PASSWORD_RESET' },
  ]);
});

describe('under a role that owns nothing', () => {
  const role = `jobs_${randomUUID().slice(0, 8)}`;
  let orm: MikroORM;
  const admin = async (...statements: string[]) => {
    const client = new pg.Client(server.url);
    await client.connect();
    for (const statement of statements) await client.query(statement);
    await client.end();
  };
  beforeAll(async () => {
    await admin(
      `CREATE ROLE ${role} LOGIN PASSWORD '${role}'`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role}`,
      `GRANT EXECUTE ON FUNCTION ensure_audit_partitions TO ${role}`,
      `GRANT USAGE ON SCHEMA graphile_worker TO ${role}`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA graphile_worker TO ${role}`,
    );
    const url = Object.assign(new URL(server.url), { username: role, password: role }).toString();
    orm = createOrm({ url, pool: 2, poolWaitMs: 2_000, applicationName: 'test' }, []);
  });
  afterAll(async () => {
    await orm.close();
    await admin(`DROP OWNED BY ${role}`, `DROP ROLE ${role}`);
  });

  test('every job can be done', async () => {
    const month = await loseMonth();
    await oldAnswers(1);
    const doctorId = await dueDoctor();
    for (const { name } of JOBS) await done(name, orm);
    expect(await query(server, sql`SELECT FROM slot WHERE doctor_id = ${doctorId}`)).toHaveLength(7);
    expect(await isThere(month)).toBe(true);
    expect(await count('idempotency')).toBe(0);
  });

  test('jobs can be queued, seen, and given back', async () => {
    await wakeDelivery(forkFor(orm));
    expect((await jobFigures(orm, AbortSignal.timeout(5_000)))[0]?.lagSeconds).toBeGreaterThan(0);
    await query(
      server,
      sql`UPDATE graphile_worker._private_jobs SET locked_by = 'dead', locked_at = now() - interval '31 seconds'`,
    );
    await freeAbandoned(orm, LEASE_MS);
    expect(await query(server, sql`SELECT FROM graphile_worker.jobs WHERE locked_by IS NOT NULL`)).toEqual([]);
  });

  test('partitions can’t be made by whom that was not granted', async () => {
    await admin(`REVOKE EXECUTE ON FUNCTION ensure_audit_partitions FROM ${role}`);
    await expect(done('extend-audit-log', orm)).rejects.toThrow('permission denied');
  });
});
