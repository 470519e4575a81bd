import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startProxy, type TcpProxy } from '../../faults/proxy.ts';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { CancelClient } from './cancel-client.ts';

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

test('a database that falls silent keeps nobody who cancels waiting for long, nor the next in line out', async () => {
  for (let i = 0; i < TIMES; i++) {
    proxy.thaw();
    const client = new CancelClient({ connectionString: url });
    await client.connect();
    proxy.freeze();
    const startedAt = performance.now();
    await expect(client.query('SELECT 1', [])).rejects.toThrow();
    client.end();
    expect(performance.now() - startedAt).toBeLessThan(6_000);
  }
  for (let i = 0; i < TIMES; i++) {
    const client = new CancelClient({ connectionString: url });
    await expect(client.connect()).rejects.toThrow();
    client.end();
  }
});
