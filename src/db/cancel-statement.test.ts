import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { startProxy, type TcpProxy } from '../../faults/proxy.ts';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { type BackendKey, cancelStatement, unanswered } from './cancel-statement.ts';

/** More than may cancel at once: each must leave room for the next. */
const TIMES = 3;

let database: TestDatabase;
let proxy: TcpProxy;
let url: string;
beforeAll(async () => {
  database = await freshDatabase();
  proxy = await startProxy(() => Number(new URL(database.url).port));
  url = Object.assign(new URL(database.url), { port: `${proxy.port}` }).toString();
});
afterAll(async () => {
  proxy.close();
  await database.drop();
});

test('a statement is cancelled, and only then it is said so', async () => {
  const client = new pg.Client(database.url);
  await client.connect();
  const slow = client.query('SELECT pg_sleep(30)').catch((error: { code: string }) => error.code);
  await cancelStatement({ connectionString: url }, client as unknown as BackendKey);
  expect(await slow).toBe('57014');
  await client.query('SELECT 1');
  expect([...unanswered]).toEqual([]);
  await client.end();
});

test('a database that falls silent keeps nobody who cancels waiting for long, nor the next in line out', async () => {
  for (let i = 0; i < TIMES; i++) {
    proxy.thaw();
    const startedAt = performance.now();
    const cancelled = cancelStatement({ connectionString: url }, { processID: i, secretKey: 0 });
    proxy.freeze();
    await cancelled;
    expect(performance.now() - startedAt).toBeLessThan(6_000);
  }
});
