import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { createOrm } from './orm.ts';
import { createPreparedNames } from './prepared.ts';
import { type Sql, sql } from './sql.ts';
import { forkFor, row, rows } from './statement.ts';
import { inTransaction, retrying } from './transaction.ts';

const signal = AbortSignal.timeout(60_000);
let database: TestDatabase;
let orm: MikroORM;

beforeAll(async () => {
  database = await freshDatabase();
  orm = createOrm({ url: database.url, pool: 1, poolWaitMs: 2_000, applicationName: 'test' }, []);
});
afterAll(async () => {
  await orm.close();
  await database.drop();
});

const ask = <T>(statement: Sql) => row<T>(forkFor(orm, signal), statement);
const inOne = (statement: Sql) => retrying(signal, () => inTransaction(orm, signal, (em) => rows(em, statement)));
const kept = async () =>
  (await rows<{ statement: string }>(forkFor(orm), sql`SELECT statement FROM pg_prepared_statements`)).map(
    ({ statement }) => statement,
  );

test('what is asked again is kept, BEGIN too, and what is asked once isn’t', async () => {
  await ask(sql`SELECT ${1}::int AS once`);
  for (let i = 0; i < 3; i++) await inOne(sql`SELECT ${i}::int AS often`);
  const statements = await kept();
  expect(statements).toEqual(
    expect.arrayContaining(['SELECT $1::int AS often', 'start transaction isolation level read committed']),
  );
  expect(statements).not.toContain('SELECT $1::int AS once');
});

test('a transaction begins with its first statement and ends with it: nothing of one that fails is left', async () => {
  await ask(sql`CREATE TABLE one (n int PRIMARY KEY)`);
  const insert = (n: number) => sql`INSERT INTO one VALUES (${n})`;
  for (const n of [1, 2, 3]) await inOne(insert(n));
  await expect(inOne(insert(3))).rejects.toMatchObject({ code: '23505' });
  const undone = inTransaction(orm, signal, async (em) => {
    await rows(em, insert(4));
    throw new Error('thought better of it');
  });
  await expect(undone).rejects.toThrow('thought better of it');
  await inTransaction(orm, signal, async () => {}); // asks nothing
  expect(await ask(sql`SELECT array_agg(n ORDER BY n) AS n FROM one`)).toEqual({ n: [1, 2, 3] });
  expect(
    await ask(
      sql`SELECT xact_start = statement_timestamp() AS alone FROM pg_stat_activity WHERE pid = pg_backend_pid()`,
    ),
  ).toEqual({ alone: true });
});

test('a schema that changes under a kept statement costs nobody an answer', async () => {
  await ask(sql`CREATE TABLE wide (n int)`);
  await ask(sql`INSERT INTO wide VALUES (1)`);
  const read = () => retrying(signal, () => ask(sql`SELECT * FROM wide WHERE n = ${1}`));
  for (let i = 0; i < 3; i++) expect(await read()).toEqual({ n: 1 });
  await ask(sql`ALTER TABLE wide ADD COLUMN more int`);
  expect(await read()).toEqual({ n: 1, more: null });
  const inTurn = () => inOne(sql`SELECT * FROM wide WHERE n = ${1}`);
  for (let i = 0; i < 3; i++) await inTurn();
  await ask(sql`ALTER TABLE wide DROP COLUMN more`);
  expect(await inTurn()).toEqual([{ n: 1 }]);
});

test('behind a pooler whose connections keep nothing, statements go unnamed from the first that fails on', async () => {
  const read = () => retrying(signal, () => ask(sql`SELECT ${7}::int AS seven`));
  for (let i = 0; i < 3; i++) await read();
  for (let i = 0; i < 3; i++) {
    await ask(sql`DEALLOCATE ALL`); // as another server connection would look
    expect(await read()).toEqual({ seven: 7 });
    expect(await inOne(sql`SELECT ${7}::int AS seven`)).toEqual([{ seven: 7 }]);
  }
  expect(await kept()).toEqual([]);
});

test('long statements, and more than two hundred, are not named', () => {
  const { nameOf } = createPreparedNames();
  const named = (text: string) => [nameOf(text), nameOf(text)].at(-1);
  expect(named('x'.repeat(10_000))).toBeUndefined();
  const names = Array.from({ length: 300 }, (_, i) => named(`SELECT ${i}`));
  expect(new Set(names.slice(0, 200)).size).toBe(200);
  expect(names.slice(200).every((name) => name === undefined)).toBe(true);
});
