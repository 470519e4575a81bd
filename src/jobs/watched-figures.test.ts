import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { createOrm } from '../db/orm.ts';
import { createLog } from '../log.ts';
import { jobFigures } from './job-figures.ts';
import { JOBS } from './jobs.ts';
import { runJobs } from './run-jobs.ts';
import { watchedFigures } from './watched-figures.ts';

let server: TestServer;
const watchedOf = (orm: MikroORM) => watchedFigures((signal) => jobFigures(orm, signal));

beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server?.stop());

test('behind a lock there are no figures, in bounded time; afterwards there are those of every job, asked for once', async () => {
  const locker = new pg.Client(server.url);
  await locker.connect();
  await locker.query('BEGIN; LOCK TABLE job');
  const begun = performance.now();
  expect(await watchedOf(server.orm)()).toBeUndefined();
  expect(performance.now() - begun).toBeLessThan(2_000);
  await locker.end();
  const figures = watchedOf(server.orm);
  const first = figures();
  expect((await first)?.map(({ name }) => name)).toEqual(JOBS.map(({ name }) => name));
  expect(figures()).toBe(first);
});

test('for a role that may not see the queue there are no figures, and the log says what it lacks', async () => {
  const role = `unseeing_${randomUUID().slice(0, 8)}`;
  const admin = new pg.Client(server.url);
  await admin.connect();
  await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD '${role}'`);
  await admin.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role}`);
  const url = Object.assign(new URL(server.url), { username: role, password: role }).toString();
  const orm = createOrm({ url, pool: 2, poolWaitMs: 2_000, applicationName: 'test' }, []);
  let logged = '';
  const write = (line: string) => {
    logged += line;
  };
  const stop = runJobs({ orm, url, instance: 'test', log: createLog('warn', { write }) });
  try {
    expect(await watchedOf(orm)()).toBeUndefined();
    for (const deadline = Date.now() + 5_000; !logged && Date.now() < deadline; ) await sleep(20);
    expect(logged).toMatch(/permission denied for .*background jobs are in trouble/);
  } finally {
    await stop();
    await orm.close();
    await admin.query(`DROP OWNED BY ${role}`);
    await admin.query(`DROP ROLE ${role}`);
    await admin.end();
  }
});
