import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { query } from '../../test/support/calls.ts';
import { person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from './sql.ts';
import { keepUp } from './upkeep.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

const count = async (table: string) =>
  (await query<{ n: number }>(server, sql`SELECT count(*) AS n FROM ${sql.ref(table)}`))[0]?.n;

test('answers are deleted after seven days, in batches, and younger ones stay', async () => {
  await query(
    server,
    sql`INSERT INTO idempotency SELECT gen_random_uuid(), 'BookSlot', gen_random_uuid(), ''::bytea, 0, ''::bytea, now() - age
        FROM generate_series(1, 2500), (VALUES (interval '8 days')) old (age)`,
  );
  await query(
    server,
    sql`INSERT INTO idempotency VALUES (gen_random_uuid(), 'BookSlot', gen_random_uuid(), '', 0, '', now() - interval '6 days 23 hours')`,
  );
  expect(await keepUp(server.orm)).toBe(2500);
  expect(await count('idempotency')).toBe(1);
});

test('sessions go thirty days after their end, with their refresh tokens, and live ones stay', async () => {
  const [ended, live] = [await person(server, 'PATIENT'), await person(server, 'PATIENT')];
  await query(server, sql`UPDATE session SET revoked_at = now() - interval '31 days' WHERE id = ${ended.sessionId}`);
  await query(
    server,
    sql`INSERT INTO refresh_token VALUES (gen_random_uuid(), ${ended.sessionId}, sha256('x'), now(), NULL, NULL)`,
  );
  expect(await keepUp(server.orm)).toBe(1);
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
  expect(await keepUp(server.orm)).toBe(2);
  const kept = await query(server, sql`SELECT network FROM sign_in_place ORDER BY network`);
  expect(kept).toEqual([{ network: '179 days' }, { network: '23 hours' }]);
});

test('missing partitions of the audit log are made, and two at once do no harm', async () => {
  const [last] = await query<{ name: string }>(
    server,
    sql`SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_event'::regclass ORDER BY 1 DESC LIMIT 1`,
  );
  await query(server, sql`ALTER TABLE audit_event DETACH PARTITION ${sql.ref(last?.name ?? '')}`);
  await query(server, sql`DROP TABLE ${sql.ref(last?.name ?? '')}`);
  await Promise.all([keepUp(server.orm), keepUp(server.orm), keepUp(server.orm)]);
  expect(await query(server, sql`SELECT to_regclass(${last?.name}) IS NOT NULL AS there`)).toEqual([{ there: true }]);
});
