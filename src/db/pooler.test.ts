import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { startProxy, type TcpProxy } from '../../faults/proxy.ts';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import {
  hasPgbouncer,
  keepsStatements,
  setForPoolers,
  startPgbouncer,
  type TestPgbouncer,
} from '../../test/support/pgbouncer.ts';
import { migrate } from './migrate.ts';
import { checkSettings, createOrm, databaseThere } from './orm.ts';
import { type Sql, sql } from './sql.ts';
import { allowStatements, forkFor, row, rows } from './statement.ts';
import { inTransaction, retrying, translated } from './transaction.ts';

/** Connections of PgBouncer to PostgreSQL, fewer than its clients have to it. */
const SERVERS = 2;
const signal = AbortSignal.timeout(120_000);

(hasPgbouncer ? describe : describe.skip)('through PgBouncer in transaction mode', () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let pgbouncer: TestPgbouncer;
  let url: string;
  const orms: MikroORM[] = [];
  const clients: pg.Client[] = [];
  beforeAll(async () => {
    database = await freshDatabase();
    proxy = await startProxy(() => Number(new URL(database.url).port || 5432));
    const through = Object.assign(new URL(database.url), { hostname: '127.0.0.1', port: `${proxy.port}` }).toString();
    pgbouncer = await startPgbouncer(through, { default_pool_size: SERVERS });
    url = pgbouncer.url(new URL(database.url).pathname.slice(1));
  });
  beforeEach(async () => {
    await setForPoolers(database.url);
    await pgbouncer.command('RECONNECT');
  });
  afterEach(async () => {
    proxy.thaw();
    await Promise.all(clients.splice(0).map((client) => client.end()));
    await Promise.all(orms.splice(0).map((orm) => orm.close(true)));
  });
  afterAll(async () => {
    await pgbouncer.end();
    proxy.close();
    await database.drop();
  });

  const open = (pool = 4) => {
    const orm = createOrm({ url, pool, poolWaitMs: 2_000, applicationName: 'pooler test' }, []);
    orms.push(orm);
    return orm;
  };
  /** Somebody else, whose transaction keeps one of PgBouncer's connections. */
  const holder = async () => {
    const client = new pg.Client(url);
    clients.push(client);
    await client.connect();
    return { hold: () => client.query('BEGIN; SELECT 1'), letGo: () => client.query('COMMIT') };
  };
  const ask = <T>(orm: MikroORM, statement: Sql, of = signal) =>
    retrying(of, () => row<T>(forkFor(orm, of), statement));

  test('an instance whose settings were dropped is told all that has to be set, and is content when it is', async () => {
    const name = new URL(database.url).pathname.slice(1);
    const client = new pg.Client(database.url);
    await client.connect();
    await client.query(`ALTER DATABASE ${name} RESET ALL`);
    await client.end();
    await pgbouncer.command('RECONNECT');
    const told = await checkSettings(open()).catch((error: Error) => error.message);
    for (const wanted of [
      'lock_timeout = 2000;',
      'statement_timeout = 5000;',
      'client_connection_check_interval = 1000;',
    ])
      expect(told).toContain(`ALTER ROLE … SET ${wanted}`);
    await setForPoolers(database.url);
    await pgbouncer.command('RECONNECT');
    await checkSettings(open());
  });

  test('several instances find out at their start whether statements stay prepared, and none fails', async () => {
    const instances = [open(), open(), open()];
    for (const orm of instances) await checkSettings(orm);
    const one = (orm: MikroORM, i: number) =>
      inTransaction(orm, signal, async (em) => [
        ...(await rows(em, sql`SELECT ${i}::int AS n`)),
        ...(await rows(em, sql`SELECT ${i}::int + 1 AS n`)),
      ]);
    const answers = await Promise.all(instances.flatMap((orm) => Array.from({ length: 60 }, (_, i) => one(orm, i))));
    expect(answers).toEqual(instances.flatMap(() => Array.from({ length: 60 }, (_, i) => [{ n: i }, { n: i + 1 }])));
    const names = await rows<{ name: string }>(forkFor(open()), sql`SELECT name FROM pg_prepared_statements`);
    const ofThePooler = names.filter(({ name }) => name.startsWith('PGBOUNCER_')).length;
    expect([ofThePooler > 0, names.filter(({ name }) => name.startsWith('s'))]).toEqual([keepsStatements, []]);
  });

  test("a statement that one instance has left on a connection never runs for another's", async () => {
    const [theirs, ours, first, second] = [open(1), open(1), await holder(), await holder()];
    const askTheirs = () => ask(theirs, sql`SELECT ${7}::int AS theirs`);
    const askOurs = () => ask(ours, sql`SELECT ${7}::int AS ours`);
    await first.hold(); // one connection is theirs alone, and keeps their statement
    for (let i = 0; i < 2; i++) await askTheirs();
    await second.hold(); // the other is ours
    await first.letGo();
    for (let i = 0; i < 2; i++) await askOurs();
    await first.hold(); // now we get theirs
    await second.letGo();
    expect(await askOurs()).toEqual({ ours: 7 });
    await first.letGo();
  });

  test('a statement whose caller has gone ends, nobody else’s does, and PgBouncer lives', async () => {
    const orm = open();
    await checkSettings(orm);
    const others = ask(orm, sql`SELECT pg_sleep(1.5) IS NOT NULL AS slept`);
    const running = () =>
      ask<{ n: number }>(
        orm,
        sql`SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(30)%'`,
      );
    for (let times = 0; times < 5; times++) {
      const gone = new AbortController();
      const startedAt = performance.now();
      const slow = ask(orm, sql`SELECT pg_sleep(30)`, gone.signal).catch(() => performance.now() - startedAt);
      await sleep(100);
      gone.abort();
      expect(await slow).toBeLessThan(1_500);
    }
    expect(await others).toEqual({ slept: true });
    while ((await running())?.n !== 0) await sleep(50); // the server looks once a second whether its client is there
    expect((await pgbouncer.command('SHOW VERSION')).length).toBe(1);
  }, 10_000);

  test('more time for one transaction’s statements is not left to the next on the same connection', async () => {
    const orm = open();
    await inTransaction(orm, signal, (em) => allowStatements(em, 25_000));
    const shown = await Promise.all(
      Array.from({ length: SERVERS }, () =>
        ask<{ ms: string }>(orm, sql`SELECT current_setting('statement_timeout') AS ms, pg_sleep(0.1)`),
      ),
    );
    expect(shown.map((one) => one?.ms)).toEqual(Array(SERVERS).fill('5s'));
  });

  test('while the database behind it is silent callers are told so at once, and served again afterwards', async () => {
    const orm = open();
    const call = async () => {
      const startedAt = performance.now();
      const reason = await translated(signal, () => ask(orm, sql`SELECT 1 AS one`)).then(
        () => 'OK',
        (error: { reason?: string }) => error.reason,
      );
      return { reason, ms: performance.now() - startedAt };
    };
    expect((await call()).reason).toBe('OK');
    proxy.freeze();
    await call(); // somebody has to find out
    await expect(databaseThere(orm)).rejects.toThrow();
    for (let i = 0; i < 5; i++) {
      await sleep(100);
      const { reason, ms } = await call();
      expect(reason).toBe('DATABASE_DOWN');
      expect(ms).toBeLessThan(500);
    }
    proxy.thaw();
    const backAt = performance.now();
    while ((await call()).reason !== 'OK') await sleep(50);
    expect(performance.now() - backAt).toBeLessThan(6_000);
  }, 60_000);

  test('migrations refuse to go through it, and leave no lock behind', async () => {
    await expect(migrate(url)).rejects.toThrow('a pooler is in between');
    expect(
      await ask(
        open(),
        sql`SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      ),
    ).toEqual({ n: 0 });
  });
});
