import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { startProxy, type TcpProxy } from '../../faults/proxy.ts';
import { type Cluster, type Server, startCluster } from '../../test/support/cluster.ts';
import { databaseUrl } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { Fault } from '../fault.ts';
import { migrate } from './migrate.ts';
import { createOrm } from './orm.ts';
import { leaderPosition } from './position.ts';
import { createReplica, type Replica } from './replica.ts';
import { sql } from './sql.ts';
import { forkFor, row, rows } from './statement.ts';

const MS = 3_000;
const NEVER = new AbortController().signal;

let cluster: Cluster;
let leader: Server;
let standby: Server;
let line: TcpProxy;
const open: { close(): Promise<unknown> }[] = [];

beforeAll(async () => {
  cluster = await startCluster();
  leader = cluster.leader;
  await leader.query('CREATE DATABASE elsewhere');
  await makeClinic(leader);
  await leader.query('CREATE TABLE own (id int PRIMARY KEY, n int NOT NULL)', 'clinic');
  standby = await leader.standby();
  line = await startProxy(() => standby.port);
});
afterEach(async () => {
  line.thaw();
  line.accept();
  for (const one of open.splice(0)) await one.close();
});
afterAll(async () => {
  line.close();
  await cluster.end();
});

async function makeClinic(server: Server): Promise<void> {
  await server.query('CREATE DATABASE clinic');
  await migrate(server.url('clinic'));
  await server.query('CREATE TABLE counter AS SELECT 0 AS n', 'clinic');
}

function ormAt(url: string): MikroORM {
  const orm = createOrm({ url, pool: 10, poolWaitMs: 2_000, applicationName: 'test' }, []);
  open.push(orm);
  return orm;
}

interface Watched extends Replica {
  /** What was told, newest last. */
  readonly told: (string | undefined)[];
  readonly counted: boolean[];
  readonly failures: string[];
  readonly leader: MikroORM;
}

/** Of the standby by way of the proxy, unless another URL is given. */
function replicaAt(url = `postgresql://postgres@127.0.0.1:${line.port}/clinic`, from = leader): Watched {
  const [told, counted, failures]: [(string | undefined)[], boolean[], string[]] = [[], [], []];
  const at = ormAt(from.url('clinic'));
  const replica = createReplica({
    orm: ormAt(url),
    leader: at,
    pool: { connections: 10, waitMs: 2_000 },
    count: (there) => counted.push(there),
    tell: (problem) => told.push(problem),
    failed: (problem) => failures.push(problem),
  });
  open.unshift({ close: async () => replica.stop() });
  return { ...replica, told, counted, failures, leader: at };
}

async function usable(replica: Replica): Promise<void> {
  await eventually(() => replica.usable());
}

const inRecovery = (replica: Replica) =>
  replica.read(NEVER, async (em) => (await row<{ yes: boolean }>(em, sql`SELECT pg_is_in_recovery() AS yes`))?.yes, MS);
const countAt = (replica: Replica) =>
  replica.read(NEVER, async (em) => (await row<{ n: number }>(em, sql`SELECT n FROM counter`))?.n, MS);
/** The problem that was told last. */
const problem = ({ told }: Watched) => told.at(-1);

describe('a replica that keeps up', () => {
  test('answers', async () => {
    const replica = replicaAt();
    expect(await inRecovery(replica)).toBeUndefined(); // nothing is known of it yet
    await usable(replica);
    expect(await inRecovery(replica)).toEqual({ found: true });
    expect(replica.told).toContain(undefined);
    expect(replica.counted).toEqual([false, true]);
  });

  test('shows whoever has changed something that change, however far it lags and however many ask', async () => {
    const replica = replicaAt();
    await usable(replica);
    const lag = (ms: number) =>
      standby
        .query(`ALTER SYSTEM SET recovery_min_apply_delay = ${ms}`)
        .then(() => standby.query('SELECT pg_reload_conf()'));
    await lag(20);
    let there = 0;
    const changeAndLook = async (id: number) => {
      for (let n = 1; n <= 40; n++) {
        const change = sql`INSERT INTO own (id, n) VALUES (${id}, ${n}) ON CONFLICT (id) DO UPDATE SET n = excluded.n`;
        await rows(forkFor(replica.leader), change);
        const seen = await replica.read(
          NEVER,
          async (em) => (await row<{ n: number }>(em, sql`SELECT n FROM own WHERE id = ${id}`))?.n,
          MS,
        );
        if (!seen) continue;
        there += 1;
        expect(seen.found).toBe(n);
      }
    };
    try {
      await Promise.all(Array.from({ length: 8 }, (_, id) => changeAndLook(id)));
      expect(there).toBeGreaterThan(5);
    } finally {
      await lag(0);
    }
  });

  test('has its refusals thrown as they are', async () => {
    const replica = replicaAt();
    await usable(replica);
    const refused = new Fault('DOCTOR_NOT_FOUND', 'no such doctor');
    await expect(
      replica.read(
        NEVER,
        async () => {
          throw refused;
        },
        MS,
      ),
    ).rejects.toBe(refused);
    expect(replica.usable()).toBe(true);
  });

  test('is not given up for a statement that fails there alone, which the database is asked then', async () => {
    const replica = replicaAt();
    await usable(replica);
    expect(await replica.read(NEVER, (em) => rows(em, sql`SELECT 1 / 0`), MS)).toBeUndefined();
    // As a conflict with recovery ends it.
    const conflict = sql`DO $$ BEGIN RAISE EXCEPTION 'canceling statement due to conflict with recovery' USING ERRCODE = '40001'; END $$`;
    expect(await replica.read(NEVER, (em) => rows(em, conflict), MS)).toBeUndefined();
    expect(replica.failures).toEqual(['22012', '40001']);
    expect(replica.usable()).toBe(true);
    expect(await inRecovery(replica)).toEqual({ found: true });
  });

  test('is not given up for a statement that takes too long there, which may be to blame', async () => {
    const replica = replicaAt();
    await usable(replica);
    const told = replica.told.length;
    expect(await replica.read(NEVER, (em) => rows(em, sql`SELECT pg_sleep(60)`), 50)).toBeUndefined();
    expect(replica.usable()).toBe(true);
    expect(await inRecovery(replica)).toEqual({ found: true });
    expect(replica.failures).toEqual(['slow']);
    expect(replica.told.slice(told)).toHaveLength(0);
  });

  test('ends what its caller no longer waits for', async () => {
    const replica = replicaAt();
    await usable(replica);
    const caller = new AbortController();
    const asked = replica.read(caller.signal, (em) => rows(em, sql`SELECT pg_sleep(60)`), MS);
    const running =
      "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid() AND state = 'active'";
    await eventually(async () => (await standby.query(running)).length === 1);
    caller.abort(new Error('gone'));
    await expect(asked).rejects.toThrow('gone');
    await eventually(async () => (await standby.query(running)).length === 0);
    expect(replica.usable()).toBe(true);
  });

  test('has a crowd wait in line, and turns away what is too much', async () => {
    const replica = createReplica({
      orm: ormAt(standby.url('clinic')),
      leader: ormAt(leader.url('clinic')),
      pool: { connections: 1, waitMs: 50 },
    });
    open.unshift({ close: async () => replica.stop() });
    await usable(replica);
    const slow = () => replica.read(NEVER, (em) => rows(em, sql`SELECT pg_sleep(0.3)`), MS);
    const ends = await Promise.allSettled(Array.from({ length: 5 }, slow));
    const refused = ends.flatMap((end) => (end.status === 'rejected' ? [(end.reason as Fault).reason] : []));
    expect(refused).toEqual(['OVERLOADED', 'OVERLOADED', 'OVERLOADED', 'OVERLOADED']);
  });
});

test('who asks how far the leader has come hears nothing that was asked before', async () => {
  const slow = await startProxy(() => leader.port);
  const url = `postgresql://postgres@127.0.0.1:${slow.port}/clinic`;
  const position = leaderPosition(ormAt(url));
  await position(); // and is connected
  slow.delay(100);
  const first = position();
  await sleep(150); // it has been answered, and the answer is on its way
  const [{ at }] = (await leader.query(
    'WITH change AS (UPDATE counter SET n = n + 1) SELECT pg_current_wal_insert_lsn()::text AS at',
    'clinic',
  )) as [{ at: string }];
  const [second, third] = [position(), position()];
  expect(second).toBe(third);
  const [{ before, after }] = (await leader.query(
    `SELECT '${(await first).lsn}'::pg_lsn <= '${at}' AS before, '${(await second).lsn}'::pg_lsn > '${at}' AS after`,
  )) as [{ before: boolean; after: boolean }];
  expect([before, after]).toEqual([true, true]);
  slow.close();
});

test('who waits to ask a leader that has no time is told so together with who has asked', async () => {
  const orm = createOrm({ url: leader.url('clinic'), pool: 1, poolWaitMs: 10_000, applicationName: 'test' }, []);
  open.push(orm);
  const position = leaderPosition(orm);
  const busy = rows(forkFor(orm), sql`SELECT pg_sleep(2)`);
  const reasonOf = (asked: Promise<unknown>) => asked.catch((error: unknown) => error);
  const [first, second] = await Promise.all([reasonOf(position()), reasonOf(position())]);
  expect(first).toMatchObject({ name: 'TimeoutError' });
  expect(second).toBe(first);
  await busy;
  expect((await position()).lsn).toMatch('/');
});

describe('a replica that is no good is not asked, and asked again when it is', () => {
  test('one that is behind', async () => {
    const replica = replicaAt();
    await usable(replica);
    await standby.query('SELECT pg_wal_replay_pause()');
    try {
      await leader.query('UPDATE counter SET n = n + 1', 'clinic');
      expect(await countAt(replica)).toBeUndefined();
      expect(problem(replica)).toMatch(/ms behind/);
      expect(replica.usable()).toBe(false);
      expect(await countAt(replica)).toBeUndefined();
    } finally {
      await standby.query('SELECT pg_wal_replay_resume()');
    }
    await usable(replica);
    const [now] = await leader.query('SELECT n FROM counter', 'clinic');
    expect(await countAt(replica)).toEqual({ found: now?.n });
    expect(problem(replica)).toBeUndefined();
  });

  test.each(['silent', 'silent in the middle of a read', 'gone'])('one that is %s', async (how) => {
    const replica = replicaAt();
    await usable(replica);
    await inRecovery(replica);
    let asked: Promise<unknown>;
    if (how === 'silent in the middle of a read') {
      asked = replica.read(
        NEVER,
        (em) => {
          line.freeze();
          return rows(em, sql`SELECT 1`);
        },
        200,
      );
    } else {
      if (how === 'silent') line.freeze();
      else {
        line.refuse();
        line.cut();
      }
      asked = inRecovery(replica);
    }
    expect(await asked).toBeUndefined();
    await eventually(() => !replica.usable());
    expect(await inRecovery(replica)).toBeUndefined();
    line.thaw();
    line.accept();
    await usable(replica);
    expect(await inRecovery(replica)).toEqual({ found: true });
  });

  test('one that was not there at the start', async () => {
    line.refuse();
    line.cut();
    const replica = replicaAt();
    await eventually(() => replica.told.length > 0);
    expect(await inRecovery(replica)).toBeUndefined();
    line.accept();
    await usable(replica);
    expect(await inRecovery(replica)).toEqual({ found: true });
  });
});

describe('a server that is no replica of the database is never asked', () => {
  test.each([
    ['the leader itself', () => leader.url('clinic'), 'no standby'],
    ['a server of another cluster', () => databaseUrl('postgres'), 'another database'],
    ['another database', () => standby.url('elsewhere'), 'another database'],
    [
      'another search path',
      () => `${standby.url('clinic')}?options=-c%20search_path%3Dinformation_schema`,
      'another database',
    ],
  ])('%s', async (_what, url, why) => {
    const replica = replicaAt(url());
    await eventually(() => replica.told.length > 0);
    expect(problem(replica)).toMatch(new RegExp(why));
    expect(await inRecovery(replica)).toBeUndefined();
  });

  test('a standby of another cluster', async () => {
    const other = await startCluster();
    try {
      await makeClinic(other.leader);
      const foreign = await other.leader.standby();
      const replica = replicaAt(foreign.url('clinic'));
      await eventually(() => replica.told.length > 0);
      expect(problem(replica)).toMatch('another database');
    } finally {
      await other.end();
    }
  });

  test('a standby whose leader is no longer the leader, though it has come further than the new one', async () => {
    const own = await startCluster();
    try {
      const old = own.leader;
      await makeClinic(old);
      const [next, left] = [await old.standby(), await old.standby()];
      await next.stop();
      // What `next` never hears of.
      await old.query('CREATE TABLE far AS SELECT generate_series(1, 200000)', 'clinic');
      const [{ at }] = (await old.query('SELECT pg_current_wal_flush_lsn()::text AS at')) as [{ at: string }];
      await eventually(
        async () => (await left.query(`SELECT pg_last_wal_replay_lsn() >= '${at}' AS yes`))[0]?.yes === true,
      );
      await old.stop();
      await next.start();
      await next.query('SELECT pg_promote()');
      const [{ behind }] = (await next.query(`SELECT pg_current_wal_flush_lsn() < '${at}' AS behind`)) as [
        { behind: boolean },
      ];
      expect(behind).toBe(true);
      const replica = replicaAt(left.url('clinic'), next);
      await eventually(() => replica.told.length > 0);
      expect(problem(replica)).toMatch('a leader that was');
      expect(await countAt(replica)).toBeUndefined();
    } finally {
      await own.end();
    }
  });

  test('one that was promoted', async () => {
    const promoted = await leader.standby();
    const replica = replicaAt(promoted.url('clinic'));
    await usable(replica);
    await promoted.query('SELECT pg_promote()');
    await eventually(async () => (await inRecovery(replica)) === undefined);
    expect(problem(replica)).toMatch('no standby');
    expect(await inRecovery(replica)).toBeUndefined();
    await promoted.stop();
  });
});

test('a role that may not write the mark after a failover is told so, and the replica is used when it may', async () => {
  await leader.query('CREATE ROLE reader LOGIN');
  await leader.query('GRANT SELECT ON timeline, counter TO reader', 'clinic');
  const replica = createReaders();
  await usable(replica);
  await leader.query('DELETE FROM timeline', 'clinic'); // as after a failover
  expect(await countAt(replica)).toBeUndefined();
  expect(replica.usable()).toBe(false);
  expect(problem(replica)).toMatch('permission denied for table timeline');
  await leader.query('GRANT INSERT ON timeline TO reader', 'clinic');
  await usable(replica);
});

function createReaders(): Watched {
  const as = (port: number) => `postgresql://reader@127.0.0.1:${port}/clinic`;
  return replicaAt(as(line.port), { ...leader, url: () => as(leader.port) });
}

test('after a failover the new leader’s standby is asked again', async () => {
  const own = await startCluster();
  try {
    await makeClinic(own.leader);
    const next = await own.leader.standby();
    const behind = await next.standby();
    const before = replicaAt(behind.url('clinic'), own.leader);
    await usable(before);
    await own.leader.stop();
    await next.query('SELECT pg_promote()');
    const after = replicaAt(behind.url('clinic'), next);
    await usable(after);
    expect(await inRecovery(after)).toEqual({ found: true });
  } finally {
    await own.end();
  }
});

test('while the database itself is away nothing is read from its replica, which may be the older one', async () => {
  const own = await startCluster();
  try {
    await makeClinic(own.leader);
    const standing = await own.leader.standby();
    const replica = replicaAt(standing.url('clinic'), own.leader);
    await usable(replica);
    await own.leader.stop();
    expect(await inRecovery(replica)).toBeUndefined();
    await own.leader.start();
    await eventually(async () => (await inRecovery(replica))?.found === true);
  } finally {
    await own.end();
  }
});
