import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { startProxy } from '../../faults/proxy.ts';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { createOrm } from '../db/orm.ts';
import { type Sql, sql } from '../db/sql.ts';
import { forkFor, rows } from '../db/statement.ts';
import { inTransaction } from '../db/transaction.ts';
import { createLog } from '../log.ts';
import type { Job } from './job.ts';
import { type JobsOptions, runJobs } from './run-jobs.ts';
import { QUICK, slowJob } from './slow-job.fixture.ts';

let database: TestDatabase;
let orm: MikroORM;

beforeAll(async () => {
  database = await freshDatabase();
  orm = createOrm({ url: database.url, pool: 10, poolWaitMs: 2_000, applicationName: 'test' }, []);
  await query(sql`CREATE TABLE todo (id integer PRIMARY KEY)`);
  await query(
    sql`CREATE TABLE did (id integer, job text, instance text, at timestamptz NOT NULL DEFAULT clock_timestamp())`,
  );
});

beforeEach(async () => {
  for (const table of [
    sql`todo`,
    sql`did`,
    sql`job`,
    sql`graphile_worker._private_jobs`,
    sql`graphile_worker._private_job_queues`,
  ])
    await query(sql`DELETE FROM ${table}`);
});

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

afterAll(async () => {
  await orm.close();
  await database.drop();
});

const query = <T>(statement: Sql) => rows<T>(forkFor(orm), statement);
const add = (job: string) =>
  query(sql`SELECT graphile_worker.add_job(${job}, job_key => ${job}, queue_name => ${job})`);
const fill = (count: number) => query(sql`INSERT INTO todo SELECT generate_series(1, ${count})`);
const left = async () => (await query<{ n: number }>(sql`SELECT count(*) AS n FROM todo`))[0]?.n ?? 0;
const did = () =>
  query<{ id: number; job: string; instance: string }>(sql`SELECT id, job, instance FROM did ORDER BY at`);
/** Who did something, in the order in which they did, each as often as they took turns. */
const turns = async () => (await did()).map(({ instance }) => instance).filter((one, i, all) => one !== all[i - 1]);

/** Runs jobs in this process, as an instance with that name. */
function instance(name: string, jobs: readonly Job[], more: Partial<JobsOptions> = {}) {
  const logged: string[] = [];
  const log = createLog('debug', { write: (line: string) => void logged.push(line) });
  const stop = runJobs({ orm, url: database.url, instance: name, log, jobs, pace: QUICK, ...more });
  stops.push(stop);
  const lines = (level: number) => logged.map((line) => JSON.parse(line)).filter((line) => line.level === level);
  return { stop, lines };
}

/** The same as a process of its own that does the slow job. */
function startInstance(name: string, url = database.url) {
  const child: ChildProcess = spawn(process.execPath, [join('src', 'jobs', 'instance.fixture.ts'), url, name]);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk));
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  stops.push(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, ended, output: () => output };
}

async function until(what: () => Promise<boolean> | boolean, ms = 15_000): Promise<void> {
  for (const deadline = Date.now() + ms; !(await what()); await sleep(20))
    if (Date.now() > deadline) throw new Error('it did not happen in time');
}

/** Writes down that it was done. */
const noted = (name: string, by: string, more: Partial<Job> = {}): Job => ({
  name,
  schedule: '0 * * * *',
  overdueMs: 3_600_000,
  run: (step) =>
    step(
      async (em) =>
        (await rows(em, sql`INSERT INTO did (job, instance) SELECT ${name}, ${by} FROM pg_sleep(0.02) RETURNING 1`))
          .length,
    ),
  ...more,
});

test('what became due while nobody was there is done once, whichever of two instances does it', async () => {
  const names = Array.from({ length: 12 }, (_, i) => `due-${i}`);
  await query(sql`INSERT INTO graphile_worker._private_known_crontabs (identifier, known_since)
    SELECT unnest(${names}::text[]), now() - interval '3 hours'`);
  for (const by of ['one', 'other'])
    instance(
      by,
      names.map((name) => noted(name, by)),
    );
  await until(async () => (await did()).length >= names.length);
  await sleep(500);
  expect((await did()).map(({ job }) => job).sort()).toEqual([...names].sort());
  expect(await query(sql`SELECT FROM graphile_worker.jobs`)).toEqual([]);
});

test('what an instance with a clock ahead has written down keeps no job from being due', async () => {
  await query(sql`INSERT INTO graphile_worker._private_known_crontabs (identifier, known_since, last_execution)
    VALUES ('ahead', now(), now() + interval '1 year')`);
  instance('one', [noted('ahead', 'one')]);
  const ahead = sql`SELECT FROM graphile_worker._private_known_crontabs WHERE identifier = 'ahead' AND last_execution > now()`;
  await until(async () => (await query(ahead)).length === 0);
});

test('of a crowd of jobs each is done once', async () => {
  const names = Array.from({ length: 60 }, (_, i) => `crowd-${i}`);
  for (const by of ['one', 'other'])
    instance(
      by,
      names.map((name) => noted(name, by)),
    );
  await sleep(300);
  await query(sql`SELECT graphile_worker.add_job(name) FROM unnest(${names}::text[]) AS name`);
  await until(async () => (await did()).length >= names.length);
  await sleep(500);
  expect((await did()).map(({ job }) => job).sort()).toEqual([...names].sort());
  expect(new Set((await did()).map(({ instance }) => instance))).toEqual(new Set(['one', 'other']));
});

test('two runs of one job never overlap, not even when they are queued beside each other', async () => {
  for (const by of ['one', 'other']) instance(by, [slowJob(by, 50)]);
  await fill(20);
  await sleep(300);
  await query(sql`SELECT graphile_worker.add_job('slow') FROM generate_series(1, 2)`);
  await until(async () => (await left()) === 0);
  expect(await turns()).toHaveLength(1);
});

test('killed in the middle of a job: another instance does the rest within seconds, not hours', async () => {
  const victim = startInstance('victim');
  await fill(150);
  await until(() => victim.output().includes('running'));
  await add('slow');
  await until(async () => (await left()) < 145);
  instance('heir', [slowJob('heir', 1)]);
  await sleep(QUICK.leaseMs);
  expect(await turns()).toEqual(['victim']); // while it shows signs of life
  victim.child.kill('SIGKILL');
  await victim.ended;
  const killedAt = performance.now();
  await until(async () => (await turns()).length === 2);
  expect(performance.now() - killedAt).toBeLessThan(8_000); // also on a busy machine
  await until(async () => (await left()) === 0);
  expect(await turns()).toEqual(['victim', 'heir']);
  expect(await did()).toHaveLength(150);
  await until(async () => (await query(sql`SELECT FROM graphile_worker.jobs`)).length === 0);
});

test('frozen in the middle of a job, and awake when another does it: nothing more is done by the first', async () => {
  const frozen = startInstance('frozen');
  await fill(60);
  await until(() => frozen.output().includes('running'));
  await add('slow');
  await until(async () => (await left()) < 55);
  frozen.child.kill('SIGSTOP');
  instance('heir', [slowJob('heir', 60)]);
  await until(async () => (await turns()).length === 2);
  frozen.child.kill('SIGCONT');
  await until(() => frozen.output().includes('"job":"slow"')); // it has found out
  await until(async () => (await left()) === 0);
  expect(await turns()).toEqual(['frozen', 'heir']);
  expect(await did()).toHaveLength(60);
});

test('a stop gives the job back at once, and another instance goes on with it', async () => {
  const first = startInstance('first');
  await fill(60);
  await until(() => first.output().includes('running'));
  await add('slow');
  await until(async () => (await left()) < 55);
  instance('second', [slowJob('second', 1)]);
  const askedAt = performance.now();
  first.child.kill('SIGTERM');
  expect(await first.ended).toBe(0);
  expect(performance.now() - askedAt).toBeLessThan(2_000);
  await until(async () => (await left()) === 0);
  expect(await turns()).toEqual(['first', 'second']);
  await until(
    async () =>
      (await query(sql`SELECT FROM job WHERE name = 'slow' AND holder IS NULL AND failures = 0`)).length === 1,
  );
});

test('a job that fails is logged, counted, and tried again until it succeeds', async () => {
  let tries = 0;
  const { lines } = instance('one', [
    noted('moody', 'one', {
      async run() {
        tries += 1;
        if (tries === 1) throw new Error('not in the mood');
        return 7;
      },
    }),
  ]);
  await add('moody');
  const record = async () =>
    (
      await query<object>(
        sql`SELECT failures, error, succeeded_at IS NOT NULL AS succeeded FROM job WHERE name = 'moody'`,
      )
    )[0];
  await until(() => tries === 1 && lines(50).length === 1);
  expect(lines(50)).toMatchObject([{ job: 'moody', attempt: 1, err: { message: 'not in the mood' } }]);
  expect(await record()).toEqual({ failures: 1, error: 'not in the mood', succeeded: false });
  await until(() => lines(30).length === 1);
  expect(lines(30)).toMatchObject([{ job: 'moody', changed: 7, msg: 'a background job is done' }]);
  expect(await record()).toMatchObject({ failures: 0, succeeded: true });
  expect(lines(50)).toHaveLength(1);
});

test('one that was given up because the next came meanwhile is taken away; what others have queued stays', async () => {
  await query(sql`WITH old AS (SELECT (graphile_worker.add_job(name)).id FROM unnest(ARRAY['ours', 'theirs']) AS name)
    SELECT graphile_worker.permanently_fail_jobs(array_agg(id)) FROM old`);
  await query(sql`UPDATE graphile_worker._private_jobs SET locked_by = 'them', locked_at = now() - interval '1 hour'
    WHERE id = (SELECT id FROM graphile_worker.jobs WHERE task_identifier = 'theirs')`);
  instance('one', [noted('ours', 'one')]);
  const queued = () => query(sql`SELECT task_identifier AS job, locked_by FROM graphile_worker.jobs`);
  await until(async () => (await queued()).length === 1);
  await sleep(3 * QUICK.sweepMs);
  expect(await queued()).toEqual([{ job: 'theirs', locked_by: 'them' }]);
});

describe('while the database is away', () => {
  /** A process that reaches the database through a proxy, in the middle of the slow job. */
  async function midway() {
    const proxy = await startProxy(() => Number(new URL(database.url).port || 5432));
    stops.push(async () => proxy.close());
    const one = startInstance('one', Object.assign(new URL(database.url), { port: `${proxy.port}` }).toString());
    await fill(40);
    await until(() => one.output().includes('running'));
    await add('slow');
    await until(async () => (await left()) < 35);
    return { ...one, proxy };
  }
  const allDone = async () => (await query(sql`SELECT FROM graphile_worker.jobs`)).length === 0;

  test('the process lives, says so once, and does the rest when it is back', async () => {
    const { child, output, proxy } = await midway();
    proxy.refuse();
    proxy.cut();
    await sleep(3_000);
    proxy.accept();
    await until(allDone);
    expect(await left()).toBe(0);
    expect(child.exitCode).toBeNull();
    expect(output().match(/in trouble/g)).toHaveLength(1);
  });

  test('so that nobody can be told that a job is done: it is found to be done when it is back', async () => {
    const { child, output, proxy } = await midway();
    await inTransaction(orm, AbortSignal.timeout(20_000), async (em) => {
      await rows(em, sql`SELECT FROM graphile_worker._private_jobs FOR UPDATE`);
      await until(() => output().includes('"changed":40'));
      await sleep(200);
      await rows(em, sql`SELECT 1`);
      proxy.refuse();
      proxy.cut();
    });
    await sleep(500);
    proxy.accept();
    await until(allDone);
    expect(child.exitCode).toBeNull();
    expect(await did()).toHaveLength(40);
  });
});
