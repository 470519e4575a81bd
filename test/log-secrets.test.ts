import { randomUUID } from 'node:crypto';
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethodUnary,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import type { Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { Role } from '../gen/amrutam/access/v1/access_pb.ts';
import { SERVICES } from '../src/server.ts';
import { openSlots, type Person, person } from './support/people.ts';
import { type BothClients, clientsOf, outcomeOf } from './support/process-client.ts';
import { startServer, type TestServer } from './support/server.ts';

/** In everything that people write, and in no line of the log, in whatever letters. */
const MARK = 'zqxjkv';
const AGENT = { 'user-agent': `Browser ${MARK}` };

let server: TestServer;
let clients: BothClients;
let doctor: Person;
let patient: Person;
let administrator: Person;

beforeAll(async () => {
  server = await startServer();
  clients = clientsOf(server);
  doctor = await person(server, 'DOCTOR', `Dr. ${MARK}`);
  patient = await person(server, 'PATIENT', `Patient ${MARK}`);
  administrator = await person(server, 'ADMINISTRATOR', `Administrator ${MARK}`);
});

afterAll(() => server?.stop());

/** The lines written since `work` began, after a look for the mark in them. */
async function linesOf(work: () => Promise<unknown>): Promise<Record<string, unknown>[]> {
  const before = server.logged.length;
  await work();
  const lines = server.logged.slice(before);
  expect(lines.filter((line) => line.toLowerCase().includes(MARK))).toEqual([]);
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** The options of a call by somebody with these headers, from a browser that says too much. */
const as = ({ headers }: { headers: Record<string, string> }) => ({ headers: { ...AGENT, ...headers } });
const bearer = (token: string | undefined) => ({ authorization: `Bearer ${token}` });

test('the story of an account: names, addresses, passwords and tokens stay out of the log', async () => {
  const email = `${MARK}@example.test`;
  const [password, next] = [`seven ${MARK} violet tractors`, `eleven ${MARK} marble canoes`];
  const tokens: string[] = [];
  const lines = await linesOf(async () => {
    const { grpc, json } = clients;
    const account = { email, password, displayName: MARK, role: Role.PATIENT };
    const first = (await json.auth.signUp(account, as({ headers: {} }))).session;
    await outcomeOf(as({ headers: {} }), (o) => grpc.auth.signUp(account, o));
    await outcomeOf({}, (o) => grpc.auth.logIn({ email, password: next }, o));
    const second = (await grpc.auth.logIn({ email, password }, as({ headers: {} }))).session;
    const third = (await json.auth.refreshSession({ refreshToken: first?.refreshToken ?? '' })).session;
    const mine = as({ headers: bearer(third?.accessToken) });
    await grpc.auth.updateCurrentUser({ displayName: `${MARK} the second` }, mine);
    await json.auth.changePassword({ currentPassword: password, newPassword: next }, mine);
    await outcomeOf(mine, (o) => json.auth.changePassword({ currentPassword: password, newPassword: email }, o));
    await outcomeOf(as({ headers: bearer(`${third?.accessToken}x`) }), (o) => grpc.auth.getCurrentUser({}, o));
    await grpc.auth.logOut({}, mine);
    await outcomeOf(mine, (o) => json.auth.getCurrentUser({}, o));
    for (const session of [first, second, third]) tokens.push(session?.accessToken ?? '', session?.refreshToken ?? '');
  });
  expect(reasons(lines)).toEqual(
    expect.arrayContaining([undefined, 'EMAIL_TAKEN', 'CREDENTIALS_INVALID', 'TOKEN_INVALID', 'SESSION_REVOKED']),
  );
  expect(server.logged.filter((line) => tokens.some((token) => line.includes(token)))).toEqual([]);
});

test('the story of a booking: reasons, profiles, purposes and searches stay out of the log', async () => {
  const [slot, free] = await openSlots(server, doctor.id, { count: 2 });
  const slotId = slot?.id ?? '';
  const lines = await linesOf(async () => {
    const { grpc, json } = clients;
    const profile = { bio: `About ${MARK}`, specialties: [MARK], languages: [MARK], displayName: `Dr. ${MARK}` };
    await grpc.availability.updateDoctorProfile({ doctor: profile }, as(doctor));
    await json.availability.searchDoctors({ query: MARK, specialty: MARK, language: MARK });
    const query = encodeURIComponent(JSON.stringify({ query: MARK }));
    const path = `amrutam.availability.v1.AvailabilityService/SearchDoctors?encoding=json&connect=v1&message=${query}`;
    expect((await fetch(`${base()}/${path}`)).status).toBe(200);
    const request = { requestId: randomUUID(), slotId, reasonForVisit: MARK };
    const { booking } = await grpc.booking.bookSlot(request, as(patient));
    await json.booking.bookSlot(request, as(patient));
    await outcomeOf(as(patient), (o) => json.booking.bookSlot({ ...request, reasonForVisit: `${MARK}!` }, o));
    await outcomeOf(as(patient), (o) => grpc.booking.bookSlot({ ...request, requestId: randomUUID() }, o));
    const bookingId = booking?.id ?? '';
    await grpc.booking.getBooking({ bookingId, purpose: MARK }, as(administrator));
    await json.booking.listBookings({ purpose: MARK }, as(administrator));
    await json.admin.listUsers({ query: MARK }, as(administrator));
    const move = { requestId: randomUUID(), bookingId, newSlotId: free?.id ?? '' };
    await json.booking.rescheduleBooking(move, as(patient));
    await grpc.booking.cancelBooking({ requestId: randomUUID(), bookingId, reason: MARK }, as(patient));
    const again = { requestId: randomUUID(), bookingId, reason: MARK };
    await outcomeOf(as(doctor), (o) => json.booking.cancelBooking(again, o));
  });
  expect(reasons(lines)).toEqual(
    expect.arrayContaining([undefined, 'REQUEST_ID_REUSED', 'SLOT_TAKEN', 'BOOKING_STATE']),
  );
});

test('every method, with the mark in every text it takes, for every kind of caller', async () => {
  const transports = [
    createGrpcTransport({ baseUrl: `http://127.0.0.1:${server.grpcPort}` }),
    createConnectTransport({ baseUrl: base(), httpVersion: '1.1', useBinaryFormat: false }),
  ];
  const callers = [{ headers: {} }, { headers: bearer(MARK) }, patient, doctor, administrator];
  const methods = SERVICES.flatMap((service) => service.methods.filter(({ name }) => name !== 'LogOut'));
  const lines = await linesOf(async () => {
    for (const method of methods) {
      for (const [i, caller] of callers.entries()) {
        const transport = transports[i % 2] as Transport;
        for (const plausible of [true, false])
          await outcomeOf(as(caller), ({ headers }) =>
            transport.unary(method as DescMethodUnary, undefined, undefined, headers, marked(method.input, plausible)),
          );
      }
    }
  });
  expect(new Set(lines.map(({ method }) => method))).toEqual(
    new Set(methods.map(({ parent, name }) => `${parent.typeName}/${name}`)),
  );
  expect(reasons(lines)).toEqual(expect.arrayContaining(['FIELD_INVALID', 'ROLE_REQUIRED', 'TOKEN_INVALID']));
});

test('an error of the database that quotes the row is logged without it', async () => {
  const [slot] = await openSlots(server, doctor.id, { inMinutes: 3_000 });
  const database = new pg.Client(server.url);
  await database.connect();
  // The DETAIL of a broken check shows the whole row.
  await database.query(`ALTER TABLE booking ADD CONSTRAINT broken CHECK (reason_for_visit = '') NOT VALID`);
  const lines = await linesOf(async () => {
    const request = { requestId: randomUUID(), slotId: slot?.id ?? '', reasonForVisit: MARK };
    await outcomeOf(as(patient), (o) => clients.grpc.booking.bookSlot(request, o));
  });
  await database.query('ALTER TABLE booking DROP CONSTRAINT broken');
  await database.end();
  expect(JSON.stringify(lines)).toMatch('violates check constraint');
});

test('bytes that are no message leave nothing of themselves in the log', async () => {
  const post = (type: string, body: string) =>
    fetch(`${base()}/amrutam.auth.v1.AuthService/LogIn`, { method: 'POST', headers: { 'content-type': type }, body });
  const lines = await linesOf(async () => {
    await post('application/json', `{"email": "${MARK}", "password": ${MARK}`);
    await post('application/json', `{"${MARK}": "${MARK}"}`);
    await post('application/json', `{"email": ["${MARK}"]}`);
    await post('application/proto', `\xff${MARK}`);
    await post(`text/${MARK}`, MARK);
  });
  expect(reasons(lines)).toContain('MESSAGE_MALFORMED');
});

function base(): string {
  return `http://127.0.0.1:${server.httpPort}`;
}

function reasons(lines: readonly Record<string, unknown>[]): unknown[] {
  return [...new Set(lines.filter(({ method }) => method).map(({ reason }) => reason))];
}

/** A message with the mark in all of its texts; a plausible one has ids and an address where the rules ask for them. */
function marked(desc: DescMessage, plausible: boolean): Message {
  const message = reflect(desc, create(desc));
  const words = (field: DescField) => {
    if (plausible && /(^|_)id$/.test(field.name)) return randomUUID();
    return plausible && field.name === 'email' ? `${MARK}@example.test` : `${MARK} and more of ${MARK}`;
  };
  for (const field of desc.fields) {
    if (field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING) message.set(field, words(field));
    if (field.fieldKind === 'list' && field.listKind === 'scalar' && field.scalar === ScalarType.STRING)
      message.get(field).add(words(field));
    if (field.fieldKind === 'message' && !field.message.typeName.startsWith('google.'))
      message.set(field, reflect(field.message, marked(field.message, plausible) as never));
  }
  return message.message;
}
