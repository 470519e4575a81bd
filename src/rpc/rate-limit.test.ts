import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { query } from '../../test/support/calls.ts';
import { person } from '../../test/support/people.ts';
import { type BothClients, clientsOf, outcomeOf, tally } from '../../test/support/process-client.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';
import { createRateCounter } from '../rate-counter.ts';

let behindProxy: TestServer;
let direct: TestServer;

beforeAll(async () => {
  behindProxy = await startServer({ takeTurn: createRateCounter().take, trustedProxies: ['127.0.0.1'] });
  direct = await startServer({ databaseUrl: behindProxy.url, takeTurn: createRateCounter().take });
});

afterAll(async () => {
  await direct.stop();
  await behindProxy.stop();
});

const from = (address: string) => ({ headers: { 'x-forwarded-for': address } });

/** `count` calls, half over each listener. */
function many<T>(count: number, ask: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => ask(i)));
}

/** Tries to sign in with a password that is too short to be one, which costs no hashing; every try counts. */
function guess(clients: BothClients, i: number, headers: object) {
  const email = `${randomUUID()}@example.test`;
  return outcomeOf(headers, (as) => clients.turn(i).auth.logIn({ email, password: '' }, as));
}

test('sixty log-ins a minute from one address, and the others told when to come again', async () => {
  const outcomes = await many(100, (i) => guess(clientsOf(behindProxy), i, from('203.0.113.1')));
  expect(tally(outcomes)).toEqual({ FIELD_INVALID: 60, RATE_LIMITED: 40 });
  const refused = outcomes.find(({ reason }) => reason === 'RATE_LIMITED')?.error;
  const seconds = Number(refused?.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds);
  expect(seconds).toBeGreaterThan(20);
  expect(seconds).toBeLessThanOrEqual(60);
});

test('another address has a limit of its own; of IPv6 the whole /64 is one', async () => {
  const clients = clientsOf(behindProxy);
  expect(tally(await many(10, (i) => guess(clients, i, from('203.0.113.2'))))).toEqual({ FIELD_INVALID: 10 });
  const addresses = (i: number) => from(`2001:db8:1:1::${i.toString(16)}`);
  expect(tally(await many(100, (i) => guess(clients, i, addresses(i))))).toEqual({
    FIELD_INVALID: 60,
    RATE_LIMITED: 40,
  });
});

test('what a client says of its own address counts for nothing', async () => {
  const outcomes = await many(100, (i) => guess(clientsOf(direct), i, from(`203.0.113.${i}`)));
  expect(tally(outcomes)).toEqual({ FIELD_INVALID: 60, RATE_LIMITED: 40 });
});

test('thirty sign-ups a minute from one address, counted apart from log-ins', async () => {
  const outcomes = await many(50, (i) =>
    outcomeOf(from('203.0.113.1'), (as) => clientsOf(behindProxy).turn(i).auth.signUp({}, as)),
  );
  expect(tally(outcomes)).toEqual({ FIELD_INVALID: 30, RATE_LIMITED: 20 });
});

test('who has a session no more spends nothing of what its owner may', async () => {
  const owner = await person(direct, 'PATIENT');
  const thief = { headers: owner.headers };
  const change = { currentPassword: 'whatever it was before', newPassword: 'eleven marble canoes' };
  const ask = (i: number) => outcomeOf(thief, (as) => clientsOf(direct).turn(i).auth.changePassword(change, as));
  await query(direct, sql`UPDATE session SET revoked_at = now() WHERE id = ${owner.sessionId}`);
  expect(tally(await many(20, ask))).toEqual({ SESSION_REVOKED: 20 });
  await query(direct, sql`UPDATE session SET revoked_at = NULL WHERE id = ${owner.sessionId}`);
  expect((await ask(0)).reason).not.toBe('RATE_LIMITED');
});

test('sixty bookings a minute an account, whatever address they come from; another account is not concerned', async () => {
  const [one, other] = [await person(behindProxy, 'PATIENT'), await person(behindProxy, 'PATIENT')];
  const book = (who: typeof one, i: number) =>
    outcomeOf({ headers: { ...who.headers, ...from(`198.51.100.${i}`).headers } }, (as) =>
      clientsOf(behindProxy).turn(i).booking.bookSlot({ requestId: randomUUID(), slotId: randomUUID() }, as),
    );
  expect(tally(await many(70, (i) => book(one, i)))).toEqual({ SLOT_NOT_FOUND: 60, RATE_LIMITED: 10 });
  expect(tally(await many(5, (i) => book(other, i)))).toEqual({ SLOT_NOT_FOUND: 5 });
});
