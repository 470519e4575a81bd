import { randomUUIDv7 as uuid } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AuthService } from '../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService } from '../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../gen/amrutam/booking/v1/booking_pb.ts';
import type { Caller } from '../src/caller.ts';
import { sql } from '../src/db/sql.ts';
import { type Forgery, type Mint, mintOf } from './support/forged-token.ts';
import { forgeries } from './support/forgeries.ts';
import { openSlots, type Person, person } from './support/people.ts';
import { type Protocol, protocolsOf } from './support/protocols.ts';
import { pathOf } from './support/protocols-grpc-js.ts';
import { runSql } from './support/protocols-world.ts';
import { startServer, type TestServer } from './support/server.ts';

const { getCurrentUser, updateCurrentUser } = AuthService.method;
const { searchDoctors } = AvailabilityService.method;
const { listBookings } = BookingService.method;

let server: TestServer;
let protocols: Protocol[];
let patient: Person;
let mint: Mint;

beforeAll(async () => {
  server = await startServer();
  protocols = protocolsOf(server);
  patient = await person(server, 'PATIENT');
  mint = await mintOf(server.keysFile, callerOf(patient));
});

afterAll(async () => {
  for (const protocol of protocols) protocol.close();
  await server.stop();
});

const callerOf = ({ id, sessionId }: Person): Caller => ({ userId: id, sessionId, role: 'PATIENT' });

/** What each protocol says to a token, at a method for the signed in and at one for all. */
async function told(token: string): Promise<string[]> {
  const headers = { authorization: `Bearer ${token}` };
  const said = new Set<string>();
  for (const protocol of protocols)
    for (const method of [getCurrentUser, searchDoctors].filter((one) => protocol.carries(one))) {
      const { code, reason } = await protocol.call(method, {}, { headers });
      said.add(reason ?? `${code} ${protocol.name}`);
    }
  return [...said];
}

test('a token written by hand as ours are is taken, so that the forgeries below fail for their own fault', async () => {
  expect(await told(mint.signed())).toEqual(protocols.map(({ name }) => `OK ${name}`));
});

test('every forgery is refused over every protocol, at public methods too', async () => {
  const taken: (Forgery & { said: string[] })[] = [];
  const all = forgeries(mint);
  for (const forgery of all) {
    const said = await told(forgery.token);
    if (!/^(TOKEN_INVALID|TOKEN_EXPIRED)$/.test(said.join())) taken.push({ ...forgery, said });
  }
  expect(taken).toEqual([]);
  expect(all.length).toBeGreaterThan(200);
});

describe('a token', () => {
  const SMUGGLED = ['x-authorization', 'proxy-authorization', 'cookie', 'access-token', 'x-forwarded-authorization'];

  test('counts in the authorization header only', async () => {
    for (const name of SMUGGLED) {
      const headers = { [name]: `Bearer ${mint.signed()}` };
      for (const protocol of protocols.filter((one) => one.carries(getCurrentUser)))
        expect([name, (await protocol.call(getCurrentUser, {}, { headers })).reason]).toEqual([name, 'TOKEN_INVALID']);
    }
    const url = `http://127.0.0.1:${server.httpPort}${pathOf(listBookings)}`;
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' };
    for (const name of ['access_token', 'authorization', 'token'])
      expect((await fetch(`${url}?${name}=${mint.signed()}`, init)).status).toBe(401);
  });

  test('comes with one scheme, and in one header', async () => {
    const good = mint.signed();
    for (const value of [good, `Basic ${good}`, `DPoP ${good}`, `Bearer\t${good}`, `Bearer:${good}`, `Bearer=${good}`])
      expect([value, await plain(`authorization: ${value}`)]).toEqual([value, 401]);
    const two = [
      [`authorization: Bearer ${good}`, `authorization: Bearer ${good}`],
      [`authorization: Bearer ${good}`, 'Authorization: Bearer forged'],
      ['authorization: Bearer forged', `AUTHORIZATION: Bearer ${good}`],
    ];
    for (const lines of two) expect(await plain(...lines)).toBe(401);
    expect(await plain(`authorization: Bearer ${good}`)).toBe(200);
    expect(await plain(`Authorization: bEARER  ${good}`)).toBe(200);
  });

  test('with bytes that no header has is refused', async () => {
    const good = mint.signed();
    for (const bytes of ['\xff', '\xc2\xb2', '\u0660', '\0', '\x7f', '\r\n folded'])
      for (const value of [`${good}${bytes}`, `${bytes}${good}`, good.replace('.', `.${bytes}`)])
        expect([400, 401]).toContain(await plain(`authorization: Bearer ${value}`));
  });

  test('that comes twice over HTTP/2 is the first of the two, and a good one behind a forged one helps nobody', async () => {
    const good = `Bearer ${mint.signed()}`;
    const stolen = `Bearer ${mint.signed({ header: { alg: 'none' } })}`;
    expect(await twiceOverHttp2([good])).toBe('0');
    expect(await twiceOverHttp2([stolen, good])).toBe('16');
    expect(await twiceOverHttp2([stolen])).toBe('16');
  });
});

describe('a good signature', () => {
  /** Signed by the service itself, were it to make a mistake. */
  const claiming = async (caller: Partial<Caller>) => {
    const { token } = await server.tokens.issue({ ...callerOf(patient), ...caller });
    return { headers: { authorization: `Bearer ${token}` } };
  };

  test.each([
    [
      'a session of somebody else',
      async () => ({ sessionId: (await person(server, 'PATIENT')).sessionId }),
      'SESSION_REVOKED',
    ],
    ['a session that nobody has', async () => ({ sessionId: uuid() }), 'SESSION_REVOKED'],
    ['somebody else', async () => ({ userId: (await person(server, 'PATIENT')).id }), 'SESSION_REVOKED'],
    ['somebody who is not there', async () => ({ userId: uuid() }), 'TOKEN_INVALID'],
    ['another role', async () => ({ role: 'ADMINISTRATOR' as const }), 'TOKEN_INVALID'],
  ])('under %s is refused, by reads and by writes, though the caller was just served', async (_what, lie, reason) => {
    const forged = await claiming(await lie());
    const honest = await claiming({});
    for (const protocol of protocols.filter((one) => one.carries(getCurrentUser))) {
      expect((await protocol.call(getCurrentUser, {}, honest)).code).toBe('OK');
      for (const method of [getCurrentUser, updateCurrentUser])
        expect([method.name, (await protocol.call(method, {}, forged)).reason]).toEqual([method.name, reason]);
    }
  });

  test('under the session of somebody else is refused though that one was just served', async () => {
    const other = await person(server, 'PATIENT');
    const [protocol] = protocols as [Protocol];
    expect((await protocol.call(getCurrentUser, {}, other)).code).toBe('OK');
    const forged = await claiming({ sessionId: other.sessionId });
    expect((await protocol.call(getCurrentUser, {}, forged)).reason).toBe('SESSION_REVOKED');
  });

  test('under another role books nothing: a write asks the database at its very moment, a repeated one too', async () => {
    const { bookSlot } = BookingService.method;
    const [protocol] = protocols as [Protocol];
    const doctor = await person(server, 'DOCTOR');
    const [slot] = await openSlots(server, doctor.id);
    const demoted = await person(server, 'PATIENT');
    const ask = { requestId: uuid(), slotId: slot?.id ?? '', reasonForVisit: 'a rash' };
    await runSql(server, sql`UPDATE app_user SET role = 'DOCTOR' WHERE id = ${demoted.id}`);
    expect((await protocol.call(bookSlot, ask, demoted)).reason).toBe('TOKEN_INVALID');
    await runSql(server, sql`UPDATE app_user SET role = 'PATIENT' WHERE id = ${demoted.id}`);
    expect((await protocol.call(bookSlot, ask, demoted)).code).toBe('OK');
    await runSql(server, sql`UPDATE app_user SET role = 'DOCTOR' WHERE id = ${demoted.id}`);
    expect((await protocol.call(bookSlot, ask, demoted)).reason).toBe('TOKEN_INVALID');
  });
});

/** The status of a POST with these header lines, byte for byte. */
async function plain(...lines: string[]): Promise<number> {
  const socket = net.connect(server.httpPort, '127.0.0.1');
  const head = [
    `POST ${pathOf(getCurrentUser)} HTTP/1.1`,
    'host: a',
    'content-type: application/json',
    'content-length: 2',
  ];
  socket.write(Buffer.from(`${[...head, 'connection: close', ...lines].join('\r\n')}\r\n\r\n{}`, 'latin1'));
  let answer = '';
  for await (const chunk of socket.setEncoding('latin1')) answer += chunk;
  return Number(answer.split(' ', 2)[1]);
}

/** The gRPC status of a call with these authorization headers. */
async function twiceOverHttp2(values: string[]): Promise<string> {
  // Node's own types don't know the option yet.
  const lax = { strictSingleValueFields: false } as http2.ClientSessionOptions;
  const session = http2.connect(`http://127.0.0.1:${server.grpcPort}`, lax);
  const stream = session.request({
    ':method': 'POST',
    ':path': pathOf(getCurrentUser),
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: values as never,
  });
  let status = '';
  const note = (headers: http2.IncomingHttpHeaders) => {
    status = String(headers['grpc-status'] ?? status);
  };
  stream.on('response', note).on('trailers', note).resume().end(Buffer.alloc(5));
  await once(stream, 'close');
  session.close();
  return status;
}
