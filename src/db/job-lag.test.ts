import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { query } from '../../test/support/calls.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { jobLag } from './job-lag.ts';
import { sql } from './sql.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server?.stop());

test('where there is no queue nothing is known of it', async () => {
  expect(await jobLag(server.orm)).toBeUndefined();
});

test('due are those whose time has come or which have failed, until they are done or given up; the oldest says how late they are', async () => {
  await query(server, sql`CREATE SCHEMA graphile_worker`);
  await query(
    server,
    sql`CREATE TABLE graphile_worker.jobs (created_at timestamptz, run_at timestamptz, attempts int, max_attempts int)`,
  );
  expect(await jobLag(server.orm)).toEqual({ due: 0, givenUp: 0, lagSeconds: 0 });
  await query(
    server,
    sql`INSERT INTO graphile_worker.jobs VALUES
          (now() - interval '20 s', now() - interval '20 s', 0, 25), (now() - interval '20 s', now() - interval '10 s', 1, 25),
          (now() - interval '300 s', now() + interval '1 h', 5, 25), (now() - interval '900 s', now() + interval '1 h', 0, 25),
          (now() - interval '900 s', now() - interval '900 s', 25, 25), (now() - interval '900 s', now() + interval '6 h', 25, 25)`,
  );
  const found = await jobLag(server.orm);
  expect(found).toEqual({ due: 3, givenUp: 2, lagSeconds: expect.any(Number) });
  expect(Math.round(found?.lagSeconds ?? 0)).toBeCloseTo(300, -1);
});

test('behind a lock there is no answer, in bounded time', async () => {
  const locker = new pg.Client(server.url);
  await locker.connect();
  await locker.query('BEGIN; LOCK TABLE graphile_worker.jobs');
  const begun = performance.now();
  expect(await jobLag(server.orm)).toBeUndefined();
  expect(performance.now() - begun).toBeLessThan(2_000);
  await locker.end();
});
