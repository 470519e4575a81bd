import { createHash } from 'node:crypto';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Session } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { type Clients, clientsOf, query, reasonOf, refusal } from '../../test/support/calls.ts';
import { type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import type { RoleName } from '../caller.ts';
import { sql } from '../db/sql.ts';
import { serverCall } from '../demo-clinic.ts';
import { RefreshToken } from './refresh-token.entity.ts';
import { newRefreshToken } from './refresh-token.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let server: TestServer;
let clients: Clients;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
});

afterEach(() => server.shift(0));
afterAll(() => server.stop());

/** Somebody signed in now, with the first refresh token of the session. */
async function signedIn(role: RoleName = 'PATIENT'): Promise<Person & { refreshToken: string }> {
  const somebody = await person(server, role);
  const refreshToken = await server.units.write(serverCall('SignUp'), async (work) => {
    const { entity, token } = RefreshToken.issue(somebody.sessionId, new Date());
    work.em.persist(entity);
    return token;
  });
  return { ...somebody, refreshToken };
}

const refresh = async (refreshToken: string) =>
  (await clients.auth.refreshSession({ refreshToken })).session as Session;
const refused = (refreshToken: string) => reasonOf(clients.auth.refreshSession({ refreshToken }));

const onRecord = ({ sessionId }: Person) =>
  query(
    server,
    sql`SELECT actor_id, actor_role, action, outcome, reason, entity_type FROM audit_event WHERE entity_id = ${sessionId}`,
  );

describe('a refresh token', () => {
  test('is exchanged for a new pair of the same session', async () => {
    const somebody = await signedIn();
    const session = await refresh(somebody.refreshToken);
    expect(session.id).toBe(somebody.sessionId);
    expect(session.user?.id).toBe(somebody.id);
    expect(session.refreshToken).not.toBe(somebody.refreshToken);
    const headers = { authorization: `Bearer ${session.accessToken}` };
    expect((await clients.auth.getCurrentUser({}, { headers })).user?.id).toBe(somebody.id);
    expect(await onRecord(somebody)).toEqual([]);
  });

  test('gives the same child again while an answer may have been lost', async () => {
    const { refreshToken } = await signedIn();
    const first = await refresh(refreshToken);
    server.shift(9_000);
    const again = await refresh(refreshToken);
    expect(again.refreshToken).toBe(first.refreshToken);
    expect((await refresh(again.refreshToken)).refreshToken).not.toBe(again.refreshToken);
  });

  test('from several tabs at once: one child for all', async () => {
    const { refreshToken } = await signedIn();
    const tabs = await Promise.all(Array.from({ length: 8 }, () => refresh(refreshToken)));
    expect(new Set(tabs.map((tab) => tab.refreshToken)).size).toBe(1);
    const [child] = tabs;
    const next = await Promise.all(Array.from({ length: 8 }, () => refresh(child?.refreshToken as string)));
    expect(new Set(next.map((tab) => tab.refreshToken)).size).toBe(1);
  });

  test('used again after 10 s ends the session, for its child too, and goes on record', async () => {
    const thief = await signedIn();
    const { refreshToken: child } = await refresh(thief.refreshToken);
    server.shift(10_100);
    expect(await refusal(clients.auth.refreshSession({ refreshToken: thief.refreshToken }))).toMatchObject({
      reason: 'SESSION_REVOKED',
      code: 'Unauthenticated',
    });
    expect(await refused(child)).toBe('SESSION_REVOKED');
    expect(await onRecord(thief)).toEqual([
      {
        actor_id: thief.id,
        actor_role: 'PATIENT',
        action: 'RefreshSession',
        outcome: 'REFUSED',
        reason: 'SESSION_REVOKED',
        entity_type: 'session',
      },
    ]);
  });

  test('of the generation before the last ends the session, however soon', async () => {
    const somebody = await signedIn();
    const child = await refresh(somebody.refreshToken);
    const grandchild = await refresh(child.refreshToken);
    expect(await refused(somebody.refreshToken)).toBe('SESSION_REVOKED');
    expect(await refused(grandchild.refreshToken)).toBe('SESSION_REVOKED');
    expect(await onRecord(somebody)).toHaveLength(1);
  });

  test('reuse ends this session only', async () => {
    const [one, two] = [await signedIn(), await signedIn()];
    await refresh(one.refreshToken);
    server.shift(10_100);
    await refused(one.refreshToken);
    expect((await refresh(two.refreshToken)).id).toBe(two.sessionId);
  });

  test('that was never given out, or is none, is invalid, and nothing goes on record', async () => {
    expect(await refused(newRefreshToken().token)).toBe('TOKEN_INVALID');
    expect(await refused('short')).toBe('TOKEN_INVALID');
    expect(await query(server, sql`SELECT 1 FROM audit_event WHERE reason = 'TOKEN_INVALID'`)).toEqual([]);
  });

  test('is kept as a hash only; its child is sealed', async () => {
    const { refreshToken, sessionId } = await signedIn();
    const child = await refresh(refreshToken);
    const kept = await query<{ token_hash: Buffer; sealed_child: Buffer | null }>(
      server,
      sql`SELECT token_hash, sealed_child FROM refresh_token WHERE session_id = ${sessionId} ORDER BY id`,
    );
    const bytes = [refreshToken, child.refreshToken].map((token) => Buffer.from(token, 'base64url'));
    expect(kept.map(({ token_hash }) => token_hash)).toEqual(
      bytes.map((token) => createHash('sha256').update(token).digest()),
    );
    const all = Buffer.concat(kept.flatMap((one) => [one.token_hash, one.sealed_child ?? Buffer.alloc(0)]));
    for (const token of bytes) expect(all.includes(token)).toBe(false);
  });
});

describe.each<[RoleName, number, number]>([
  ['PATIENT', 7 * DAY, 30 * DAY],
  ['DOCTOR', 12 * HOUR, 7 * DAY],
  ['ADMINISTRATOR', 30 * MINUTE, 8 * HOUR],
])('the session of a %s', (role, idle, absolute) => {
  test('unused, it runs out', async () => {
    const [early, late] = [await signedIn(role), await signedIn(role)];
    server.shift(idle - 5_000);
    await refresh(early.refreshToken);
    server.shift(idle + 1_000);
    expect(await refused(late.refreshToken)).toBe('TOKEN_EXPIRED');
    await refresh((await refresh(early.refreshToken)).refreshToken);
  });

  test('used, it lives on until its absolute end', async () => {
    const beganAt = Date.now();
    let { refreshToken } = await signedIn(role);
    for (let at = idle * 0.9; at < absolute; at += idle * 0.9) {
      server.shift(at);
      const session = await refresh(refreshToken);
      ({ refreshToken } = session);
      const end = timestampDate(session.refreshTokenExpireTime as NonNullable<typeof session.refreshTokenExpireTime>);
      expect(end.getTime() - beganAt).toBeLessThan(Math.min(at + idle, absolute) + 5_000);
      expect(end.getTime() - beganAt).toBeGreaterThan(Math.min(at + idle, absolute) - 5_000);
    }
    server.shift(absolute + 1_000);
    expect(await refused(refreshToken)).toBe('TOKEN_EXPIRED');
  });
});

describe('the session of a user whose role was changed in the database', () => {
  const promote = ({ id }: Person) => query(server, sql`UPDATE app_user SET role = 'ADMINISTRATOR' WHERE id = ${id}`);

  test('gives tokens of the new role; those of the old one are refused', async () => {
    const somebody = await signedIn('PATIENT');
    await promote(somebody);
    expect(await reasonOf(clients.auth.getCurrentUser({}, somebody))).toBe('TOKEN_INVALID');
    const { accessToken } = await refresh(somebody.refreshToken);
    const headers = { authorization: `Bearer ${accessToken}` };
    expect((await clients.admin.listUsers({}, { headers })).users.length).toBeGreaterThan(0);
  });

  test('lives no longer than one of the new role', async () => {
    const somebody = await signedIn('PATIENT');
    await promote(somebody);
    server.shift(31 * MINUTE);
    expect(await refused(somebody.refreshToken)).toBe('TOKEN_EXPIRED');
  });
});

describe('an ended session', () => {
  test('gives no more tokens', async () => {
    const somebody = await signedIn();
    await clients.auth.logOut({}, somebody);
    expect(await refused(somebody.refreshToken)).toBe('SESSION_REVOKED');
  });

  test('of a suspended account says so, and uses nothing up', async () => {
    const somebody = await signedIn();
    await query(server, sql`UPDATE app_user SET state = 'SUSPENDED' WHERE id = ${somebody.id}`);
    expect(await refusal(clients.auth.refreshSession({ refreshToken: somebody.refreshToken }))).toMatchObject({
      reason: 'ACCOUNT_SUSPENDED',
      code: 'PermissionDenied',
    });
    await query(server, sql`UPDATE app_user SET state = 'ACTIVE' WHERE id = ${somebody.id}`);
    await refresh(somebody.refreshToken);
  });
});
