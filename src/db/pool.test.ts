import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { startProxy, type TcpProxy } from '../../faults/proxy.ts';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { orAbort } from '../or-abort.ts';
import { createOrm } from './orm.ts';
import { checkReadiness } from './readiness.ts';
import { sql } from './sql.ts';
import { allowStatements, forkFor, row, rows } from './statement.ts';
import { inTransaction, translated } from './transaction.ts';

const POOL = 4;
const signal = AbortSignal.timeout(120_000);

let database: TestDatabase;
let proxy: TcpProxy;
let orm: MikroORM;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database.drop());
beforeEach(async () => {
  proxy = await startProxy(() => Number(new URL(database.url).port));
  const url = Object.assign(new URL(database.url), { port: `${proxy.port}` }).toString();
  orm = createOrm({ url, pool: POOL, poolWaitMs: 2_000, applicationName: 'pool test' }, []);
});
afterEach(async () => {
  await orm.close(true);
  proxy.close();
});

const pid = async (of = signal) =>
  (await row<{ pid: number }>(forkFor(orm, of), sql`SELECT pg_backend_pid() AS pid`))?.pid as number;
/** As many at once as the pool has connections: the backends that answered. */
const allPids = () =>
  Promise.all(
    Array.from({ length: POOL }, () =>
      inTransaction(orm, signal, async (em) => {
        const found = await row<{ pid: number }>(em, sql`SELECT pg_backend_pid() AS pid, pg_sleep(0.2)`);
        return found?.pid as number;
      }),
    ),
  );
const failure = (work: () => Promise<unknown>, of = signal) => {
  const startedAt = performance.now();
  return translated(of, work).then(
    () => ({ reason: 'OK', ms: performance.now() - startedAt }),
    (error: { reason?: string; name: string }) => ({
      reason: error.reason ?? error.name,
      ms: performance.now() - startedAt,
    }),
  );
};
const write = () =>
  inTransaction(orm, signal, (em) => rows(em, sql`CREATE TEMPORARY TABLE a_write (id int) ON COMMIT DROP`));

test('while only new connections fail, those that exist serve on: a late answer makes nobody refuse them', async () => {
  await allPids();
  proxy.refuse();
  await rows(forkFor(orm, signal), sql`SELECT pg_sleep(2.7)`);
  expect(await failure(() => pid())).toMatchObject({ reason: 'OK' });
  expect(new Set(await allPids()).size).toBe(POOL);
});

test('what a read-only server was asked on is not asked again, nor is any connection beside it', async () => {
  const before = await allPids();
  expect(new Set(before).size).toBe(POOL);
  const readOnly = inTransaction(orm, signal, async (em) => {
    await rows(em, sql`SET TRANSACTION READ ONLY`);
    await rows(em, sql`CREATE TABLE a_write (id int)`);
  });
  expect(await failure(() => readOnly)).toMatchObject({ reason: 'DATABASE_DOWN' });
  const after = await allPids();
  expect(after.filter((one) => before.includes(one))).toEqual([]);
  expect(new Set(after).size).toBe(POOL);
});

test('connections that the server ends, idle or at work, are made anew at once', async () => {
  const before = await allPids();
  const atWork = failure(() => rows(forkFor(orm, signal), sql`SELECT pg_sleep(5)`));
  await sleep(200);
  const other = createOrm({ url: database.url, pool: 1, poolWaitMs: 2_000, applicationName: 'other' }, []);
  await rows(
    forkFor(other),
    sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pool test'`,
  );
  // On a busy machine they take their time to end; until then nobody can know.
  const left = sql`SELECT 1 FROM pg_stat_activity WHERE application_name = 'pool test'`;
  for (let tries = 0; tries < 200 && (await rows(forkFor(other), left)).length; tries++) await sleep(10);
  await other.close(true);
  expect(await atWork).toMatchObject({ reason: 'DATABASE_DOWN' });
  const after = await allPids();
  expect(after.filter((one) => before.includes(one))).toEqual([]);
});

describe('a database that falls silent', () => {
  test('COMMIT is OUTCOME_UNKNOWN when the answer is overdue, and its place in the pool is free', async () => {
    const commit = await failure(() =>
      inTransaction(orm, signal, async (em) => {
        await rows(em, sql`SELECT 1`);
        proxy.freeze();
      }),
    );
    expect(commit.reason).toBe('OUTCOME_UNKNOWN');
    expect(commit.ms).toBeLessThan(15_000);
    proxy.forget();
    proxy.thaw();
    for (const end = Date.now() + 10_000; (await failure(write)).reason !== 'OK' && Date.now() < end; )
      await sleep(100);
    expect(new Set(await allPids()).size).toBe(POOL);
  });

  test('statements end with their callers, and their places are free soon after', async () => {
    await allPids();
    proxy.freeze();
    const gone = AbortSignal.timeout(300);
    const calls = await Promise.all(Array.from({ length: POOL }, () => failure(() => orAbort(gone, pid(gone)), gone)));
    for (const { reason, ms } of calls) {
      expect(reason).toBe('TimeoutError');
      expect(ms).toBeLessThan(3_000);
    }
    proxy.forget();
    proxy.thaw();
    await sleep(4_500); // less than a statement may take
    expect(new Set(await allPids()).size).toBe(POOL);
  });

  test('once it is known, everybody is told so at once, and when it is back nobody is refused', async () => {
    await allPids();
    proxy.freeze();
    const first = AbortSignal.timeout(10_000);
    const overdue = failure(() => pid(first), first);
    await sleep(3_000);
    await failure(() => pid()); // finds out that it is away
    const crowd = await Promise.all(Array.from({ length: 200 }, () => failure(() => pid())));
    expect(new Set(crowd.map(({ reason }) => reason))).toEqual(new Set(['DATABASE_DOWN']));
    expect(Math.max(...crowd.map(({ ms }) => ms))).toBeLessThan(1_500);
    expect((await checkReadiness(orm)).ready).toBe(false);
    proxy.thaw();
    for (const end = Date.now() + 5_000; (await failure(write)).reason !== 'OK' && Date.now() < end; ) await sleep(100);
    expect(await failure(write)).toMatchObject({ reason: 'OK' });
    expect((await checkReadiness(orm)).ready).toBe(true);
    await overdue;
  });
});

test('a report gets more time than a statement, here and in the database', async () => {
  const slow = inTransaction(orm, signal, async (em) => {
    await allowStatements(em, 25_000);
    return row<{ timeout: string }>(em, sql`SELECT current_setting('statement_timeout') AS timeout, pg_sleep(7.5)`);
  });
  expect(await slow).toMatchObject({ timeout: '25s' });
});

test('who no longer waits for a connection gets none', async () => {
  const enough = Promise.withResolvers<void>();
  let inside = 0;
  const held = Array.from({ length: POOL }, () =>
    inTransaction(orm, signal, async (em) => {
      await rows(em, sql`SELECT 1`);
      inside += 1;
      await enough.promise;
    }),
  );
  while (inside < POOL) await sleep(5);
  const gone = AbortSignal.timeout(50);
  const waited = await failure(() => inTransaction(orm, gone, async () => 'never'), gone);
  expect(waited.reason).toBe('TimeoutError');
  enough.resolve();
  await Promise.all(held);
  expect(new Set(await allPids()).size).toBe(POOL);
});
