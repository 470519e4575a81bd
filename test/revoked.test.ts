import { randomUUIDv7 as uuid } from 'node:crypto';
import type { DescMethodUnary, Message } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AuthService } from '../gen/amrutam/auth/v1/auth_pb.ts';
import { createPasswordHasher } from '../src/auth/password.ts';
import { sql } from '../src/db/sql.ts';
import { ENDINGS, member } from './support/ended-sessions.ts';
import { openSlots, person } from './support/people.ts';
import { type BothClients, clientsOf, outcomeOf } from './support/process-client.ts';
import { type Protocol, protocolsOf } from './support/protocols.ts';
import { CALLABLES } from './support/protocols-broken.ts';
import { requestOf } from './support/protocols-fields.ts';
import { runSql } from './support/protocols-world.ts';
import { startServer, type TestServer } from './support/server.ts';

/** Two instances on one database, with the same keys. */
let here: TestServer;
let there: TestServer;
let clients: { here: BothClients; there: BothClients };
let protocol: Protocol;

beforeAll(async () => {
  here = await startServer();
  there = await startServer({ databaseUrl: here.url, keysFile: here.keysFile });
  clients = { here: clientsOf(here), there: clientsOf(there) };
  [protocol] = protocolsOf(here) as [Protocol];
});

afterAll(async () => {
  protocol.close();
  await there.stop();
  await here.stop();
});

/** Milliseconds that the contract gives reads. */
const READS_MS = 5_000;

test.concurrent.each(ENDINGS)(
  'when $what, another instance refuses writes at once, reads within 5 s, for good',
  async ({ reason, end }) => {
    const scene = { clients: clients.here.grpc, backstage: here };
    const somebody = await member(scene);
    const { headers } = somebody;
    const doctor = await person(here, 'DOCTOR');
    const [slot] = await openSlots(here, doctor.id);
    const elsewhere = clients.there.json;
    const read = async () => (await outcomeOf({ headers }, (as) => elsewhere.auth.getCurrentUser({}, as))).reason;
    const book = { requestId: uuid(), slotId: slot?.id ?? '', reasonForVisit: 'a rash' };
    expect(await read()).toBe('OK');
    await end(scene, somebody);
    const endedAt = performance.now();
    const writes = await Promise.all([
      outcomeOf({ headers }, (as) => elsewhere.booking.bookSlot(book, as)),
      outcomeOf({ headers }, (as) => elsewhere.auth.updateCurrentUser({ displayName: 'Somebody else' }, as)),
    ]);
    expect(writes.map((write) => write.reason)).toEqual([reason, reason]);
    while ((await read()) === 'OK') {
      expect(performance.now() - endedAt).toBeLessThan(READS_MS);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect([await read(), await read()]).toEqual([reason, reason]);
  },
);

const WRITES = CALLABLES.filter(({ method, role }) => role && !/^(Get|List|Search|Verify|Preview)/.test(method.name));

describe.each(WRITES)('$method.name', ({ method, role }) => {
  const { getCurrentUser } = AuthService.method;
  let passwordHash: string;

  beforeAll(async () => {
    passwordHash = await createPasswordHasher().hash('seven violet tractors', new AbortController().signal);
  });
  const CHANGES = {
    SESSION_REVOKED: ({ sessionId }: Ids) => sql`UPDATE session SET revoked_at = now() WHERE id = ${sessionId}`,
    ACCOUNT_SUSPENDED: ({ id }: Ids) => sql`UPDATE app_user SET state = 'SUSPENDED' WHERE id = ${id}`,
    TOKEN_INVALID: ({ id }: Ids) =>
      sql`UPDATE app_user SET role = CASE role WHEN 'DOCTOR' THEN 'PATIENT' ELSE 'DOCTOR' END WHERE id = ${id}`,
  };
  type Ids = { readonly id: string; readonly sessionId: string };

  test.each(Object.entries(CHANGES))(
    'is refused with %s at once, though a read was served just before',
    async (reason, change) => {
      const caller = await person(here, role ?? 'PATIENT');
      // ChangePassword compares before it asks.
      await runSql(here, sql`UPDATE app_user SET password_hash = ${passwordHash} WHERE id = ${caller.id}`);
      expect((await protocol.call(getCurrentUser, {}, caller)).code).toBe('OK');
      await runSql(here, change(caller));
      expect((await protocol.call(method as DescMethodUnary, requestOf(method) as Message, caller)).reason).toBe(
        reason,
      );
    },
  );
});
