import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import { type Clients, clientsOf, query, reasonOf, refusal } from '../../test/support/calls.ts';
import { type MailServer, startMailServer } from '../../test/support/mail-server.ts';
import { type Postman, postman, readMail, SITE, sentToken } from '../../test/support/mails.ts';
import { person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';

const PASSWORD = 'a violet umbrella, twice';
const NEXT = 'eleven marble canoes, adrift';

let server: TestServer;
let clients: Clients;
let mails: MailServer;
let post: Postman;

beforeAll(async () => {
  server = await startServer({ trustedProxies: ['127.0.0.1'] });
  clients = clientsOf(server);
  mails = await startMailServer();
  post = await postman(server.orm, mails);
});
afterAll(async () => {
  await server.stop();
  await mails.stop();
});
beforeEach(async () => {
  server.shift(0);
  await query(server, sql`DELETE FROM mail`);
});

const from = (address: string) => ({ headers: { 'x-forwarded-for': address } });
const HOME = from('198.51.100.7');

async function account() {
  const email = `meenakshi.${randomUUID()}@example.test`;
  const account = { email, password: PASSWORD, displayName: 'Asha', role: Role.PATIENT };
  const { session } = await clients.auth.signUp(account, HOME);
  return { email, id: session?.user?.id ?? '', session, headers: { authorization: `Bearer ${session?.accessToken}` } };
}

/** Sends what waits; answers the texts that came to an address. */
async function mailsTo(email: string) {
  await post.deliver();
  return mails.received.filter(({ to }) => to === email).map(({ source }) => readMail(source));
}

const logIn = (email: string, password: string, as = HOME) => clients.auth.logIn({ email, password }, as);
const verified = async (headers: { authorization: string }) =>
  (await clients.auth.getCurrentUser({}, { headers })).user?.emailVerified;

describe('an address is verified', () => {
  test('by the token that was sent there, once; the mail is of use with and without its link', async () => {
    const { email, headers } = await account();
    expect(await verified(headers)).toBe(false);
    await clients.auth.requestEmailVerification({}, { headers });
    const [mail, ...more] = await mailsTo(email);
    expect(more).toEqual([]);
    expect(mail?.text).toContain(`${SITE}/verify-email#token=${mail?.token}\n`);
    const token = mail?.token ?? '';
    await clients.auth.verifyEmail({ token });
    expect(await verified(headers)).toBe(true);
    expect(await reasonOf(clients.auth.verifyEmail({ token }))).toBe('MAIL_TOKEN_INVALID');
    await clients.auth.requestEmailVerification({}, { headers });
    expect(await mailsTo(email)).toHaveLength(1);
  });

  test('by one of twenty who use the same token at once', async () => {
    const { id } = await person(server, 'PATIENT');
    const token = await sentToken(server, id, 'VERIFICATION');
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => clients.auth.verifyEmail({ token })));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('by the newest token alone', async () => {
    const { email, headers } = await account();
    await clients.auth.requestEmailVerification({}, { headers });
    await mailsTo(email);
    await clients.auth.requestEmailVerification({}, { headers });
    const [first, second] = await mailsTo(email);
    expect(await reasonOf(clients.auth.verifyEmail({ token: first?.token ?? '' }))).toBe('MAIL_TOKEN_INVALID');
    await clients.auth.verifyEmail({ token: second?.token ?? '' });
  });

  test('within a day', async () => {
    const { email, headers } = await account();
    await clients.auth.requestEmailVerification({}, { headers });
    const [mail] = await mailsTo(email);
    server.shift(24 * 3_600_000 + 60_000);
    expect(await reasonOf(clients.auth.verifyEmail({ token: mail?.token ?? '' }))).toBe('MAIL_TOKEN_INVALID');
    server.shift(24 * 3_600_000 - 60_000);
    await clients.auth.verifyEmail({ token: mail?.token ?? '' });
  });

  test('and not by a token for a new password, nor the other way round', async () => {
    const { id } = await person(server, 'PATIENT');
    const reset = await sentToken(server, id, 'PASSWORD_RESET');
    const verification = await sentToken(server, id, 'VERIFICATION');
    expect(await reasonOf(clients.auth.verifyEmail({ token: reset }))).toBe('MAIL_TOKEN_INVALID');
    expect(await reasonOf(clients.auth.resetPassword({ token: verification, newPassword: NEXT }))).toBe(
      'MAIL_TOKEN_INVALID',
    );
  });

  test('with five mails an hour, and then one has to wait as long as is said', async () => {
    const { email, headers } = await account();
    for (let i = 0; i < 5; i++) await clients.auth.requestEmailVerification({}, { headers });
    const { reason, metadata } = await refusal(clients.auth.requestEmailVerification({}, { headers }));
    expect([reason, metadata]).toEqual(['RATE_LIMITED', { limit: '5', per: 'account' }]);
    expect(await mailsTo(email)).toHaveLength(1); // those before were never sent
  });

  test('and neither address nor token is in the database; the hash of the token is', async () => {
    const { email, headers } = await account();
    await clients.auth.requestEmailVerification({}, { headers });
    const [mail] = await mailsTo(email);
    const kept = JSON.stringify([
      await query(server, sql`SELECT * FROM mail`),
      await query(server, sql`SELECT mail_token.*, encode(token_hash, 'base64') FROM mail_token`),
    ]);
    expect(kept).not.toContain(email);
    expect(kept).not.toContain(mail?.token);
    const [{ n } = { n: 0 }] = await query<{ n: number }>(
      server,
      sql`SELECT count(*) AS n FROM mail_token WHERE token_hash = sha256(${Buffer.from(mail?.token ?? '', 'base64url')})`,
    );
    expect(n).toBe(1);
    expect(post.logged.join('')).not.toContain(email);
    expect(post.logged.join('')).not.toContain(mail?.token);
  });
});

describe('a forgotten password', () => {
  const forgotten = (email: string) => clients.auth.requestPasswordReset({ email }, HOME);

  test('is replaced by the token that was sent: the new one signs in, every session has ended, the address is verified', async () => {
    const { email, session } = await account();
    await forgotten(email.toUpperCase());
    const [mail] = await mailsTo(email);
    expect(mail?.text).toContain(`${SITE}/reset-password#token=${mail?.token}\n`);
    const token = mail?.token ?? '';
    await clients.auth.resetPassword({ token, newPassword: NEXT }, HOME);
    expect(await reasonOf(clients.auth.refreshSession({ refreshToken: session?.refreshToken ?? '' }))).toBe(
      'SESSION_REVOKED',
    );
    expect(await reasonOf(logIn(email, PASSWORD))).toBe('CREDENTIALS_INVALID');
    expect((await logIn(email, NEXT)).session?.user?.emailVerified).toBe(true);
    expect(await reasonOf(clients.auth.resetPassword({ token, newPassword: PASSWORD }))).toBe('MAIL_TOKEN_INVALID');
  });

  test('is on record: who, what, and neither address nor password nor token', async () => {
    const { email, id } = await account();
    await forgotten(email);
    const [mail] = await mailsTo(email);
    await clients.auth.resetPassword({ token: mail?.token ?? '', newPassword: NEXT }, HOME);
    const events = await query<Record<string, unknown>>(
      server,
      sql`SELECT action, outcome, actor_id, entity_id, patient_id, changed_fields FROM audit_event WHERE entity_id = ${id} AND action <> 'SignUp' ORDER BY id`,
    );
    const mine = { outcome: 'DONE', actor_id: id, entity_id: id, patient_id: id };
    expect(events).toMatchObject([
      { ...mine, action: 'RequestPasswordReset', changed_fields: ['mail.*'] },
      { ...mine, action: 'ResetPassword', changed_fields: expect.arrayContaining(['app_user.password_hash']) },
    ]);
    expect(JSON.stringify(events)).not.toContain(email);
  });

  test('is asked for alike, and as long, whether or not anybody has the address', async () => {
    const { email } = await account();
    const tooFew: string[] = [];
    for (const address of [email, `${randomUUID()}@example.test`]) {
      const startedAt = performance.now();
      expect(await forgotten(address)).toEqual(expect.objectContaining({}));
      if (performance.now() - startedAt < 249) tooFew.push(address);
    }
    expect(tooFew).toEqual([]);
    await post.deliver();
    expect(mails.received.at(-1)?.to).toBe(email);
    const [{ n } = { n: 0 }] = await query<{ n: number }>(server, sql`SELECT count(*) AS n FROM mail`);
    expect(n).toBe(1);
  });

  test('floods no mailbox, and leaves a token that works', async () => {
    const { email } = await account();
    for (let i = 0; i < 8; i++) {
      await forgotten(email);
      await post.deliver();
    }
    const sent = await mailsTo(email);
    expect(sent).toHaveLength(3);
    await clients.auth.resetPassword({ token: sent[2]?.token ?? '', newPassword: NEXT });
    server.shift(31 * 60_000);
    await forgotten(email);
    expect(await query(server, sql`SELECT FROM mail WHERE state = 'QUEUED'`)).toHaveLength(1);
  });

  test('can be set by one alone of twenty who use the token at once', async () => {
    const { id } = await person(server, 'PATIENT');
    const token = await sentToken(server, id, 'PASSWORD_RESET');
    const tries = Array.from({ length: 20 }, (_, i) =>
      reasonOf(clients.auth.resetPassword({ token, newPassword: `${NEXT} ${i}` })).catch(() => 'OK'),
    );
    const reasons = await Promise.all(tries);
    expect(reasons.filter((reason) => reason === 'OK')).toHaveLength(1);
  });

  test('is replaced once, though the mail server took the mail and hung up: no other one is sent after that', async () => {
    const { email } = await account();
    mails.behave((moment) => (moment === 'END' ? 'take and close' : undefined));
    await forgotten(email);
    const [mail] = await mailsTo(email);
    mails.behave(() => undefined);
    expect(await query(server, sql`SELECT state FROM mail`)).toEqual([{ state: 'QUEUED' }]);
    await clients.auth.resetPassword({ token: mail?.token ?? '', newPassword: NEXT });
    await query(server, sql`UPDATE mail SET due_at = now()`);
    expect(await mailsTo(email)).toHaveLength(1);
    expect(await query(server, sql`SELECT FROM mail_token`)).toEqual([]);
  });

  test('that came to its owner after all, and was changed: tokens for another one are void, and none is sent', async () => {
    const { id, email, headers } = await account();
    const token = await sentToken(server, id, 'PASSWORD_RESET');
    await forgotten(email);
    const stillThere = await sentToken(server, id, 'PASSWORD_RESET');
    await clients.auth.changePassword({ currentPassword: PASSWORD, newPassword: NEXT }, { headers });
    for (const one of [token, stillThere])
      expect(await reasonOf(clients.auth.resetPassword({ token: one, newPassword: PASSWORD }))).toBe(
        'MAIL_TOKEN_INVALID',
      );
    expect(await mailsTo(email)).toEqual([]);
  });

  test('is replaced by one that SignUp would take', async () => {
    const { id } = await account();
    const token = await sentToken(server, id, 'PASSWORD_RESET');
    const set = (newPassword: string) => reasonOf(clients.auth.resetPassword({ token, newPassword }));
    expect(await set('password password')).toBe('FIELD_INVALID');
    expect(await set('meenakshi-meenakshi')).toBe('FIELD_INVALID'); // as in the address
    expect(await set('short')).toBe('FIELD_INVALID');
    await clients.auth.resetPassword({ token, newPassword: NEXT });
  });

  test('of a suspended account is not: no mail, and a token that was sent before is refused and kept', async () => {
    const { id, email } = await account();
    const token = await sentToken(server, id, 'PASSWORD_RESET');
    await query(server, sql`UPDATE app_user SET state = 'SUSPENDED' WHERE id = ${id}`);
    await forgotten(email);
    expect(await mailsTo(email)).toEqual([]);
    expect(await reasonOf(clients.auth.resetPassword({ token, newPassword: NEXT }))).toBe('ACCOUNT_SUSPENDED');
    await query(server, sql`UPDATE app_user SET state = 'ACTIVE' WHERE id = ${id}`);
    expect((await logIn(email, PASSWORD)).session).toBeDefined();
    await clients.auth.resetPassword({ token, newPassword: NEXT });
  });

  test('of which too many wrong ones were tried: the place that sets the new one waits no longer, others do', async () => {
    const { id, email } = await account();
    const attacker = from('203.0.113.9');
    for (const place of [HOME, attacker]) await reasonOf(logIn(email, `not ${PASSWORD}`, place));
    // As after many more of them; how long that takes depends on the machine.
    await query(
      server,
      sql`UPDATE sign_in_place SET failures = 15, blocked_until = now() + interval '15 minutes' WHERE user_id = ${id}`,
    );
    expect(await reasonOf(logIn(email, PASSWORD))).toBe('CREDENTIALS_INVALID'); // waits
    await clients.auth.resetPassword({ token: await sentToken(server, id, 'PASSWORD_RESET'), newPassword: NEXT }, HOME);
    expect((await logIn(email, NEXT)).session).toBeDefined();
    expect(await reasonOf(logIn(email, NEXT, attacker))).toBe('CREDENTIALS_INVALID');
  });
});

test('where no mail can be sent, that is said, to everybody alike; tokens that were sent before still work', async () => {
  const silent = await startServer({ databaseUrl: server.url, keysFile: server.keysFile, mail: undefined });
  try {
    const { id, email, headers } = await account();
    const { auth } = clientsOf(silent);
    expect(await reasonOf(auth.requestEmailVerification({}, { headers }))).toBe('MAIL_OFF');
    expect(await reasonOf(auth.requestPasswordReset({ email }))).toBe('MAIL_OFF');
    expect(await reasonOf(auth.requestPasswordReset({ email: 'nobody@example.test' }))).toBe('MAIL_OFF');
    await auth.verifyEmail({ token: await sentToken(server, id, 'VERIFICATION') });
  } finally {
    await silent.stop();
  }
});
