import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type Clients, clientsOf, query, reasonOf } from '../../test/support/calls.ts';
import { eventually } from '../../test/support/eventually.ts';
import { type MailServer, startMailServer } from '../../test/support/mail-server.ts';
import { type Postman, postman, readMail } from '../../test/support/mails.ts';
import { type Person, people, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';
import { NotTheHolder } from '../jobs/lease.ts';
import { mailFigures } from './mail-figures.ts';

let server: TestServer;
let clients: Clients;
let mails: MailServer;
let post: Postman;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
});
afterAll(() => server.stop());
beforeEach(async () => {
  await query(server, sql`DELETE FROM mail`);
  await mails?.stop();
  mails = await startMailServer();
  post = await postman(server.orm, mails);
});
afterAll(() => mails.stop());

const requestFor = ({ headers }: Person) => clients.auth.requestEmailVerification({}, { headers });
/** Somebody who waits for a mail. */
async function waiting(): Promise<Person> {
  const one = await person(server, 'PATIENT');
  await requestFor(one);
  return one;
}
const rowsOf = (fields = sql`state, attempts`) =>
  query(server, sql`SELECT ${fields} FROM mail ORDER BY created_at, id`);
/** As if the time until the next try had passed. */
const later = () => query(server, sql`UPDATE mail SET due_at = now()`);
const tokenIn = (i: number) => readMail(mails.received[i]?.source ?? '').token ?? '';
const idIn = (i: number) => /^Message-ID: (.*)$/m.exec(mails.received[i]?.source ?? '')?.[1];
const verifiable = async (token: string) =>
  (await reasonOf(clients.auth.verifyEmail({ token })).catch(() => 'OK')) === 'OK';

test('a mail is written with its cause, or not at all', async () => {
  const one = await person(server, 'PATIENT');
  // The audit trail refuses its line in the last statement of the transaction.
  await query(
    server,
    sql`ALTER TABLE audit_event ADD CONSTRAINT broken CHECK (action <> 'RequestEmailVerification') NOT VALID`,
  );
  await expect(requestFor(one)).rejects.toThrow();
  await query(server, sql`ALTER TABLE audit_event DROP CONSTRAINT broken`);
  expect(await rowsOf()).toEqual([]);
  expect(await query(server, sql`SELECT FROM graphile_worker.jobs WHERE task_identifier = 'deliver-mails'`)).toEqual(
    [],
  );
});

test('a mail that was asked for has the job queued that sends it, whatever else is queued', async () => {
  await Promise.all([waiting(), waiting(), waiting()]);
  const jobs = await query(
    server,
    sql`SELECT key, run_at <= now() AS due FROM graphile_worker.jobs WHERE task_identifier = 'deliver-mails'`,
  );
  expect(jobs).toEqual([{ key: 'deliver-mails', due: true }]);
  await query(server, sql`DELETE FROM graphile_worker._private_jobs`);
});

describe('what a server may do', () => {
  test('it says later: the mail is tried again after a while, the same mail with a token that works', async () => {
    await waiting();
    mails.behave((moment) => (moment === 'RCPT' ? '450 4.2.0 greylisted' : undefined));
    await post.deliver();
    await post.deliver(); // not yet
    expect(await rowsOf(sql`state, attempts, due_at > now() + interval '50 seconds' AS later`)).toEqual([
      { state: 'QUEUED', attempts: 1, later: true },
    ]);
    mails.behave(() => undefined);
    await later();
    await post.deliver();
    await later();
    await post.deliver();
    expect(mails.received).toHaveLength(1);
    expect(await rowsOf()).toEqual([{ state: 'SENT', attempts: 2 }]);
    expect(post.counted).toEqual(['VERIFICATION deferred', 'VERIFICATION sent']);
    expect(await verifiable(tokenIn(0))).toBe(true);
  });

  test('each try waits longer, at most a quarter of an hour', async () => {
    await waiting();
    mails.behave(() => '421 busy');
    const waits: unknown[] = [];
    for (let i = 0; i < 6; i++) {
      await later();
      await post.deliver();
      waits.push(...(await rowsOf(sql`round(extract(epoch FROM due_at - now()) / 60)::integer AS minutes`)));
    }
    expect(waits).toEqual([1, 2, 4, 8, 15, 15].map((minutes) => ({ minutes })));
  });

  test('it says never: the mail is given up, and told of without the address', async () => {
    const { email } = await waiting();
    mails.behave((moment, argument) => (moment === 'RCPT' ? `550 5.1.1 no ${argument} here` : undefined));
    await post.deliver();
    await later();
    await post.deliver();
    expect(await rowsOf()).toEqual([{ state: 'FAILED', attempts: 1 }]);
    expect(post.counted).toEqual(['VERIFICATION failed']);
    expect(post.logged.join('')).toMatch(/refused for good/);
    expect(post.logged.join('')).not.toContain(email);
  });

  test('it takes a mail and hangs up before it says so: it comes twice, as the same, and the token of either works', async () => {
    await waiting();
    mails.behave((moment) => (moment === 'END' && mails.received.length === 0 ? 'take and close' : undefined));
    await post.deliver();
    await later();
    await post.deliver();
    expect(mails.received).toHaveLength(2);
    expect(idIn(0)).toMatch(/^<[0-9a-f-]{36}@clinic\.example>$/);
    expect(idIn(1)).toBe(idIn(0));
    expect(tokenIn(1)).not.toBe(tokenIn(0));
    expect(await rowsOf()).toEqual([{ state: 'SENT', attempts: 2 }]);
    expect(await verifiable(tokenIn(0))).toBe(true);
    expect(await verifiable(tokenIn(1))).toBe(false); // one was enough
  });

  test('it is away: one batch finds out, the rest waits untouched, and all go when it is back', async () => {
    for (const one of await people(server, 'PATIENT', 45)) await requestFor(one);
    mails.behave(() => '421 not now');
    await post.deliver();
    expect((await query(server, sql`SELECT FROM mail WHERE attempts > 0`)).length).toBe(20);
    expect(post.counted).toEqual(Array(20).fill('VERIFICATION unreachable'));
    expect(await mailFigures(server.orm, AbortSignal.timeout(5_000))).toMatchObject({ queued: 45 });
    mails.behave(() => undefined);
    await later();
    expect(await post.deliver()).toBe(45);
    expect(mails.received).toHaveLength(45);
    expect(await mailFigures(server.orm, AbortSignal.timeout(5_000))).toEqual({ queued: 0, oldestSeconds: 0 });
  });

  test('it hangs in the middle of one: others go, and that one is tried again', async () => {
    const [stuck] = [await waiting(), await waiting(), await waiting()];
    let to = '';
    mails.behave((moment, argument) => {
      if (moment === 'RCPT') to = argument;
      return moment === 'RCPT' && to.includes(stuck.email) ? 'hang' : undefined;
    });
    await (await postman(server.orm, mails, { silentMs: 3_000 })).deliver();
    expect(mails.received).toHaveLength(2);
    expect((await query(server, sql`SELECT FROM mail WHERE state = 'QUEUED' AND user_id = ${stuck.id}`)).length).toBe(
      1,
    );
  });
});

describe('who sends', () => {
  test('of two instances one, and nothing twice', async () => {
    for (const one of await people(server, 'PATIENT', 45)) await requestFor(one);
    const other = await postman(server.orm, mails);
    const runs = await Promise.allSettled([post.deliver(), other.deliver()]);
    expect(runs.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0);
    for (const run of runs) if (run.status === 'rejected') expect(run.reason).toBeInstanceOf(NotTheHolder);
    expect(mails.received).toHaveLength(45);
    expect(new Set(mails.received.map(({ to }) => to)).size).toBe(45);
  });

  test('one that has lost its lease in the middle of a mail: nobody else sends that, and what was sent is on record', async () => {
    await waiting();
    const { promise: goOn, resolve } = Promise.withResolvers<undefined>();
    let arrived = false;
    mails.behave((moment) => {
      if (moment !== 'END') return undefined;
      arrived = true;
      return goOn;
    });
    const frozen = post.deliver();
    await eventually(() => arrived);
    await query(server, sql`UPDATE job SET seen_at = now() - interval '1 minute'`);
    const other = await postman(server.orm, mails);
    expect(await other.deliver()).toBe(0);
    resolve(undefined);
    await frozen;
    expect(mails.received).toHaveLength(1);
    expect(await rowsOf()).toEqual([{ state: 'SENT', attempts: 1 }]);
  });
});

describe('what is not wanted any more', () => {
  test('one that a newer one follows while it is sent: its token is void, and it stays dropped', async () => {
    const one = await waiting();
    let asked = false;
    mails.behave(async (moment) => {
      if (moment === 'END' && !asked) {
        asked = true;
        await requestFor(one);
      }
      return undefined;
    });
    await post.deliver();
    await post.deliver();
    expect(mails.received).toHaveLength(2);
    expect(await rowsOf()).toEqual([
      { state: 'DROPPED', attempts: 1 },
      { state: 'SENT', attempts: 1 },
    ]);
    expect(await verifiable(tokenIn(0))).toBe(false);
    expect(await verifiable(tokenIn(1))).toBe(true);
  });

  test.each([
    ['suspended', sql`state = 'SUSPENDED'`],
    ['verified', sql`email_verified_at = now()`],
  ])('one to a user who is %s by now', async (_, change) => {
    const { id } = await waiting();
    await query(server, sql`UPDATE app_user SET ${change} WHERE id = ${id}`);
    await post.deliver();
    expect(mails.received).toEqual([]);
    expect(await rowsOf(sql`state`)).toEqual([{ state: 'DROPPED' }]);
    expect(post.counted).toEqual(['VERIFICATION dropped']);
  });

  test('one that is too late', async () => {
    const { email } = await person(server, 'PATIENT');
    await clients.auth.requestPasswordReset({ email });
    await query(server, sql`UPDATE mail SET expires_at = now() - interval '1 second'`);
    await post.deliver();
    expect(mails.received).toEqual([]);
    expect(await rowsOf(sql`state`)).toEqual([{ state: 'FAILED' }]);
    expect(await query(server, sql`SELECT FROM mail_token`)).toEqual([]);
    expect(post.counted).toEqual(['PASSWORD_RESET failed']);
  });
});

test('nothing that somebody chose at sign-up is said to an address that may be somebody else’s', async () => {
  const one = await person(server, 'PATIENT', 'Call 0900 1234 at once');
  await requestFor(one);
  await clients.auth.requestPasswordReset({ email: one.email });
  await post.deliver();
  expect(mails.received).toHaveLength(2);
  for (const { source } of mails.received) expect(source).not.toContain('0900');
});
