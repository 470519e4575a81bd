import { randomUUIDv7 as uuid } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { query } from '../../test/support/calls.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';
import { followListings, type ListingFeed } from './listing-feed.ts';
import { createListingHistory } from './listing-history.ts';

let server: TestServer;
const feeds: ListingFeed[] = [];

beforeAll(async () => {
  server = await startServer();
});
afterAll(async () => {
  for (const { stop } of feeds) stop();
  await server.stop();
});

function follow() {
  const history = createListingHistory();
  const feed = followListings(server.orm, history);
  feeds.push(feed);
  return { history, feed };
}

const change = (doctorId: string) =>
  query(server, sql`INSERT INTO listing_change VALUES (pg_current_xact_id(), ${doctorId}, FALSE)`);

test('a process that starts takes no change away from those that have not heard of it', async () => {
  const { history } = follow();
  await sleep(300);
  for (let i = 0; i < 10; i++) {
    const [doctorId, since] = [uuid(), history.now()];
    await change(doctorId);
    follow();
    await sleep(400);
    expect(history.unchangedSince(since, { doctors: [doctorId], also: 'nothing' })).toBe(false);
  }
});

test('what was committed after others that began later is heard all the same, and once', async () => {
  const { history, feed } = follow();
  await sleep(300);
  const since = history.now();
  const [early, late] = [uuid(), uuid()];
  const begun = server.orm.em.fork();
  await begun.begin();
  await begun
    .getConnection()
    .execute(
      `INSERT INTO listing_change VALUES (pg_current_xact_id(), '${early}', FALSE)`,
      [],
      'run',
      begun.getTransactionContext(),
    );
  await change(late);
  await sleep(500);
  const changed = (doctorId: string) => !history.unchangedSince(since, { doctors: [doctorId], also: 'nothing' });
  expect([changed(early), changed(late)]).toEqual([false, true]);
  await begun.commit();
  await sleep(500);
  expect([changed(early), history.now() - since]).toEqual([true, 2]);
  expect(performance.now() - feed.asOf()).toBeLessThan(1_000);
});

test('what it knows from its first question on, another process’ answers are held against at once', async () => {
  const { feed } = follow();
  await sleep(300);
  expect(feed.earliest()).toBeDefined();
});

test('what the database showed a while ago is the oldest moment known, while that is younger, and unknown while it can’t be asked', async () => {
  const { feed } = follow();
  expect(feed.shownBefore(0)).toBeUndefined();
  await sleep(300);
  const first = feed.shownBefore(10_000);
  expect(first).toBeDefined();
  await change(uuid());
  await sleep(300);
  expect(feed.shownBefore(10_000)).toEqual(first);
  feed.stop();
  await sleep(2_100);
  expect(feed.shownBefore(0)).toBeUndefined();
});
