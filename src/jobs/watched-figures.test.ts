import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { JOBS } from './jobs.ts';
import { watchedFigures } from './watched-figures.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server?.stop());

test('behind a lock there are no figures, in bounded time; afterwards there are those of every job, asked for once', async () => {
  const locker = new pg.Client(server.url);
  await locker.connect();
  await locker.query('BEGIN; LOCK TABLE job');
  const begun = performance.now();
  expect(await watchedFigures(server.orm)()).toEqual([]);
  expect(performance.now() - begun).toBeLessThan(2_000);
  await locker.end();
  const figures = watchedFigures(server.orm);
  const first = figures();
  expect((await first).map(({ name }) => name)).toEqual(JOBS.map(({ name }) => name));
  expect(figures()).toBe(first);
});
