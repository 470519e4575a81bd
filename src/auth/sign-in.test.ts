import { argon2Sync, randomBytes, randomUUIDv7 as uuid } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import type { Session } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { DoctorState } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { type Clients, clientsOf, query, reasonOf, refusal } from '../../test/support/calls.ts';
import { type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { sql } from '../db/sql.ts';

const PASSWORD = 'a violet umbrella, twice';
const OTHER = 'another violet umbrella';

let server: TestServer;
/** A second instance on the same database: what one does, the other knows only from there. */
let elsewhere: TestServer;
let clients: Clients;
let admin: Person;

beforeAll(async () => {
  server = await startServer();
  elsewhere = await startServer({ databaseUrl: server.url });
  clients = clientsOf(server);
  admin = await person(server, 'ADMINISTRATOR');
});

afterAll(async () => {
  await elsewhere.stop();
  await server.stop();
});

interface Account {
  readonly email: string;
  readonly session: Session;
}

const newEmail = () => `${uuid()}@example.test`;

async function signUp(role: typeof Role.PATIENT | typeof Role.DOCTOR = Role.PATIENT): Promise<Account> {
  const email = newEmail();
  const { session } = await clients.auth.signUp({ email, password: PASSWORD, displayName: 'Asha', role });
  return { email, session: session as Session };
}

const logIn = async (email: string, password = PASSWORD) =>
  (await clients.auth.logIn({ email, password })).session as Session;

const as = ({ accessToken }: Session) => ({ headers: { authorization: `Bearer ${accessToken}` } });

/** A token of the same session that the other instance has signed: it has keys of its own. */
async function asElsewhere({ id: sessionId, user }: Session) {
  const { token } = await elsewhere.tokens.issue({ userId: user?.id as string, sessionId, role: 'PATIENT' });
  return { headers: { authorization: `Bearer ${token}` } };
}

const rowOf = async ({ email }: { email: string }) =>
  (
    await query<{ failed_sign_ins: number; password_hash: string }>(
      server,
      sql`SELECT * FROM app_user WHERE email = ${email}`,
    )
  )[0];

const liveSessions = async (session: Session) =>
  (await clients.auth.listSessions({}, as(session))).sessions.map(({ id }) => id);

/** Milliseconds until a read of this session is refused elsewhere for `reason`; infinite after six seconds. */
async function refusedAfter(session: Session, reason: string, of: Clients): Promise<number> {
  const options = await asElsewhere(session);
  const startedAt = performance.now();
  while (performance.now() - startedAt < 6_000) {
    const seen = await of.auth.getCurrentUser({}, options).then(
      () => 'answered',
      () => 'refused',
    );
    if (seen === 'refused') {
      expect(await reasonOf(of.auth.getCurrentUser({}, options))).toBe(reason);
      return performance.now() - startedAt;
    }
    await sleep(100);
  }
  return Number.POSITIVE_INFINITY;
}

describe('signing up', () => {
  test('makes an account and signs it in', async () => {
    const { session, email } = await signUp();
    expect(session.user).toMatchObject({ email, displayName: 'Asha', role: Role.PATIENT, timeZone: 'UTC' });
    expect((await clients.auth.getCurrentUser({}, as(session))).user).toEqual(session.user);
    expect(await liveSessions(session)).toEqual([session.id]);
  });

  test('an address has one account, whatever its letter case', async () => {
    const { email } = await signUp();
    const again = { email: email.toUpperCase(), password: PASSWORD, displayName: 'Asha', role: Role.DOCTOR };
    expect(await refusal(clients.auth.signUp(again))).toMatchObject({ reason: 'EMAIL_TAKEN', code: 'AlreadyExists' });
  });

  test('of ten at once with one address, one gets it', async () => {
    const account = { email: newEmail(), password: PASSWORD, displayName: 'Asha', role: Role.PATIENT };
    const results = await Promise.all(
      Array.from({ length: 10 }, () =>
        clients.auth.signUp(account).then(
          () => 'made',
          (e) => String(e.code),
        ),
      ),
    );
    expect(results.filter((result) => result === 'made')).toHaveLength(1);
  });

  test('a doctor waits for approval', async () => {
    const { session } = await signUp(Role.DOCTOR);
    const doctorId = session.user?.id as string;
    const { doctor } = await clients.availability.getDoctor({ doctorId }, as(session));
    expect(doctor?.state).toBe(DoctorState.PENDING);
    expect(await reasonOf(clients.availability.getDoctor({ doctorId }))).toBe('DOCTOR_NOT_FOUND');
  });

  test.each([
    ['as an administrator', { role: Role.ADMINISTRATOR }],
    ['without a role', { role: Role.UNSPECIFIED }],
    ['with 14 characters for a password', { password: '14 characters.' }],
    ['with a password that everybody has', { password: 'passwordpassword' }],
    ['without a name', { displayName: '  ' }],
    ['with a zone that isn’t one', { timeZone: 'Mars/Olympus' }],
    ['without an address', { email: 'asha' }],
  ])('nobody signs up %s', async (_, part) => {
    const whole = { email: newEmail(), password: PASSWORD, displayName: 'Asha', role: Role.PATIENT, ...part };
    expect(await reasonOf(clients.auth.signUp(whole))).toBe('FIELD_INVALID');
  });
});

describe('logging in', () => {
  test('begins another session; the first lives on', async () => {
    const { email, session } = await signUp();
    const second = await logIn(email.toUpperCase());
    expect(second.user).toEqual(session.user);
    expect(await liveSessions(session)).toEqual([second.id, session.id]);
  });

  test('a wrong password, an unknown address and a wait get one and the same answer', async () => {
    const { email } = await signUp();
    const wrong = await refusal(clients.auth.logIn({ email, password: OTHER }));
    const unknown = await refusal(clients.auth.logIn({ email: newEmail(), password: OTHER }));
    for (let i = 0; i < 4; i++) await refusal(clients.auth.logIn({ email, password: OTHER }));
    const waits = await refusal(clients.auth.logIn({ email, password: PASSWORD }));
    expect(wrong).toMatchObject({ reason: 'CREDENTIALS_INVALID', code: 'Unauthenticated' });
    for (const { error } of [unknown, waits])
      expect([error.code, error.rawMessage, error.details]).toEqual([
        wrong.error.code,
        wrong.error.rawMessage,
        wrong.error.details,
      ]);
  });

  test('five wrong ones: the right one waits two seconds, then it does and the count is forgotten', async () => {
    const { email } = await signUp();
    for (let i = 0; i < 4; i++) await refusal(clients.auth.logIn({ email, password: OTHER }));
    expect(await rowOf({ email })).toMatchObject({ failed_sign_ins: 4 });
    await logIn(email);
    for (let i = 0; i < 5; i++) await refusal(clients.auth.logIn({ email, password: OTHER }));
    expect(await reasonOf(clients.auth.logIn({ email, password: PASSWORD }))).toBe('CREDENTIALS_INVALID');
    expect(await reasonOf(clients.auth.logIn({ email, password: OTHER }))).toBe('CREDENTIALS_INVALID');
    expect(await rowOf({ email })).toMatchObject({ failed_sign_ins: 5 });
    server.shift(2_100);
    try {
      await logIn(email);
    } finally {
      server.shift(0);
    }
    expect(await rowOf({ email })).toMatchObject({ failed_sign_ins: 0 });
  });

  test('wrong ones at once are counted each', async () => {
    const { email } = await signUp();
    const wrong = Array.from({ length: 4 }, () => refusal(clients.auth.logIn({ email, password: OTHER })));
    await Promise.all(wrong);
    expect(await rowOf({ email })).toMatchObject({ failed_sign_ins: 4 });
  });

  test('a suspended account says so to the right password only', async () => {
    const { email, session } = await signUp();
    await clients.admin.suspendUser({ userId: session.user?.id as string }, admin);
    expect(await refusal(clients.auth.logIn({ email, password: PASSWORD }))).toMatchObject({
      reason: 'ACCOUNT_SUSPENDED',
      code: 'PermissionDenied',
    });
    expect(await reasonOf(clients.auth.logIn({ email, password: OTHER }))).toBe('CREDENTIALS_INVALID');
  });

  test('a hash of yesterday’s parameters is made anew, once, by the right password', async () => {
    const { email } = await signUp();
    const nonce = randomBytes(16);
    const cost = { memory: 8_192, passes: 1, parallelism: 1, tagLength: 32 };
    const tag = argon2Sync('argon2id', { message: Buffer.from(PASSWORD), nonce, ...cost });
    const [salt, hash] = [nonce, tag].map((bytes) => bytes.toString('base64').replaceAll('=', ''));
    const old = `$argon2id$v=19$m=8192,t=1,p=1$${salt}$${hash}`;
    await query(server, sql`UPDATE app_user SET password_hash = ${old} WHERE email = ${email}`);
    await refusal(clients.auth.logIn({ email, password: OTHER }));
    expect((await rowOf({ email }))?.password_hash).toBe(old);
    await logIn(email);
    const renewed = (await rowOf({ email }))?.password_hash;
    expect(renewed).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    await logIn(email);
    expect((await rowOf({ email }))?.password_hash).toBe(renewed);
  });
});

describe('ending sessions', () => {
  const booking = () => ({ requestId: uuid(), slotId: uuid() });

  test('a log-out is seen at once where it was said: by reads, writes and the refresh token', async () => {
    const { session } = await signUp();
    await clients.auth.getCurrentUser({}, as(session));
    await clients.auth.logOut({}, as(session));
    expect(await reasonOf(clients.auth.getCurrentUser({}, as(session)))).toBe('SESSION_REVOKED');
    expect(await reasonOf(clients.booking.bookSlot(booking(), as(session)))).toBe('SESSION_REVOKED');
    expect(await reasonOf(clients.auth.refreshSession({ refreshToken: session.refreshToken }))).toBe('SESSION_REVOKED');
  });

  test('a revoked session is refused elsewhere too: writes at once, reads within 5 s', async () => {
    const { email, session } = await signUp();
    const lost = await logIn(email);
    const other = clientsOf(elsewhere);
    await other.auth.getCurrentUser({}, await asElsewhere(lost));
    await clients.auth.revokeSession({ sessionId: lost.id }, as(session));
    expect(await reasonOf(other.booking.bookSlot(booking(), await asElsewhere(lost)))).toBe('SESSION_REVOKED');
    expect(await refusedAfter(lost, 'SESSION_REVOKED', other)).toBeLessThan(5_000);
    expect(await liveSessions(session)).toEqual([session.id]);
  });

  test('ending one again changes nothing; somebody else’s is not found', async () => {
    const [{ email, session }, stranger] = await Promise.all([signUp(), signUp()]);
    const second = await logIn(email);
    await clients.auth.revokeSession({ sessionId: second.id }, as(session));
    await clients.auth.revokeSession({ sessionId: second.id }, as(session));
    for (const sessionId of [stranger.session.id, uuid()])
      expect(await reasonOf(clients.auth.revokeSession({ sessionId }, as(session)))).toBe('SESSION_NOT_FOUND');
    expect(await liveSessions(stranger.session)).toEqual([stranger.session.id]);
  });

  test('a list of sessions says which is which', async () => {
    const { email, session } = await signUp();
    const { session: phone } = await clients.auth.logIn(
      { email, password: PASSWORD },
      { headers: { 'user-agent': `phone ${'x'.repeat(300)}` } },
    );
    const { sessions } = await clients.auth.listSessions({}, as(session));
    expect(sessions.map(({ id, current }) => [id, current])).toEqual([
      [phone?.id, false],
      [session.id, true],
    ]);
    expect(sessions[0]?.userAgent).toMatch(/^phone x{194}$/);
    expect(sessions[0]?.clientAddress).toBe('127.0.0.1');
    expect(sessions[1]?.expireTime).toEqual(session.refreshTokenExpireTime);
  });

  test('suspension ends every session for good; a reinstated account signs in anew', async () => {
    const { email, session } = await signUp();
    const second = await logIn(email);
    const other = clientsOf(elsewhere);
    await other.auth.getCurrentUser({}, await asElsewhere(session));
    const userId = session.user?.id as string;
    await clients.admin.suspendUser({ userId }, admin);
    expect(await reasonOf(other.booking.bookSlot(booking(), await asElsewhere(session)))).toBe('ACCOUNT_SUSPENDED');
    expect(await reasonOf(clients.auth.refreshSession({ refreshToken: second.refreshToken }))).toBe(
      'ACCOUNT_SUSPENDED',
    );
    expect(await refusedAfter(session, 'ACCOUNT_SUSPENDED', other)).toBeLessThan(5_000);
    await clients.admin.reinstateUser({ userId }, admin);
    expect(await reasonOf(clients.auth.refreshSession({ refreshToken: second.refreshToken }))).toBe('SESSION_REVOKED');
    expect(await reasonOf(other.booking.bookSlot(booking(), await asElsewhere(session)))).toBe('SESSION_REVOKED');
    const anew = await logIn(email);
    expect(await liveSessions(anew)).toEqual([anew.id]);
  });
});

describe('changing the password', () => {
  test('ends the other sessions, not this one; the old password is none any more', async () => {
    const { email, session } = await signUp();
    const second = await logIn(email);
    await clients.auth.changePassword({ currentPassword: PASSWORD, newPassword: OTHER }, as(session));
    expect(await liveSessions(session)).toEqual([session.id]);
    expect(await reasonOf(clients.auth.refreshSession({ refreshToken: second.refreshToken }))).toBe('SESSION_REVOKED');
    await clients.auth.refreshSession({ refreshToken: session.refreshToken });
    expect(await reasonOf(clients.auth.logIn({ email, password: PASSWORD }))).toBe('CREDENTIALS_INVALID');
    await logIn(email, OTHER);
  });

  test('a wrong current password counts like one at the door, and changes nothing', async () => {
    const { email, session } = await signUp();
    const second = await logIn(email);
    const wrong = { currentPassword: OTHER, newPassword: 'yet another violet umbrella' };
    for (let i = 0; i < 5; i++)
      expect(await reasonOf(clients.auth.changePassword(wrong, as(session)))).toBe('CREDENTIALS_INVALID');
    expect(await rowOf({ email })).toMatchObject({ failed_sign_ins: 5 });
    const right = { ...wrong, currentPassword: PASSWORD };
    expect(await reasonOf(clients.auth.changePassword(right, as(session)))).toBe('CREDENTIALS_INVALID');
    expect(await liveSessions(session)).toEqual([second.id, session.id]);
  });

  test('the new one is held to the rules', async () => {
    const { session } = await signUp();
    for (const newPassword of ['14 characters.', 'passwordpassword', 'x'.repeat(129)])
      expect(await reasonOf(clients.auth.changePassword({ currentPassword: PASSWORD, newPassword }, as(session)))).toBe(
        'FIELD_INVALID',
      );
  });
});

describe('one’s own account', () => {
  test('changes where something is said', async () => {
    const { session } = await signUp();
    const named = await clients.auth.updateCurrentUser({ displayName: ' Asha Rao ' }, as(session));
    expect(named.user).toMatchObject({ displayName: 'Asha Rao', timeZone: 'UTC' });
    const moved = await clients.auth.updateCurrentUser({ timeZone: 'asia/kolkata' }, as(session));
    expect(moved.user).toMatchObject({ displayName: 'Asha Rao', timeZone: 'Asia/Kolkata' });
    expect((await clients.auth.getCurrentUser({}, as(session))).user).toEqual(moved.user);
  });

  test('a zone that isn’t one is refused', async () => {
    const { session } = await signUp();
    expect(await reasonOf(clients.auth.updateCurrentUser({ timeZone: 'IST' }, as(session)))).toBe('FIELD_INVALID');
  });
});
