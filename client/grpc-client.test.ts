import { randomUUIDv7 as uuid } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SlotAlternativesSchema } from '../gen/amrutam/booking/v1/booking_pb.ts';
import { BadRequestSchema } from '../gen/google/rpc/error_details_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../gen/health/v1/health_pb.ts';
import { openSlots, type Person, person } from '../test/support/people.ts';
import { startServer, type TestServer } from '../test/support/server.ts';
import {
  AuthService,
  AvailabilityService,
  BookingService,
  createGrpcClient,
  type Metadata,
  RpcError,
  status,
} from './index.ts';
import { wire } from './wire.fixture.ts';

let server: TestServer;
let address: string;
let doctor: Person;
let patient: Person;
const closers: { close(): unknown }[] = [];

beforeAll(async () => {
  server = await startServer();
  address = `127.0.0.1:${server.grpcPort}`;
  [doctor, patient] = [await person(server, 'DOCTOR'), await person(server, 'PATIENT')];
});

afterAll(async () => {
  for (const closer of closers) closer.close();
  await server?.stop();
});

describe('a client', () => {
  test('calls with types from the contract, and repeats itself without booking twice', async () => {
    const [slot] = await openSlots(server, doctor.id, { inMinutes: 60 });
    const bookings = keep(createGrpcClient(BookingService, address, { token: patient.token }));
    const request = { requestId: uuid(), slotId: slot?.id };
    const replayed: unknown[] = [];
    const onHeader = (header: Metadata) => replayed.push(...header.get('idempotency-replayed'));

    const first = await bookings.bookSlot(request, { onHeader });
    expect(first.booking?.slotId).toBe(slot?.id);
    expect(replayed).toEqual([]);
    const again = await bookings.bookSlot(request, { onHeader });
    expect(again.booking).toEqual(first.booking);
    expect(replayed).toEqual(['true']);
  });

  test('sends request metadata and shows what comes back with an answer', async () => {
    const doctors = keep(createGrpcClient(AvailabilityService, address));
    const seen: unknown[] = [];
    await doctors.searchDoctors(
      {},
      {
        metadata: { 'x-request-id': 'seen-by-the-client' },
        onHeader: (header) => seen.push(...header.get('x-request-id')),
      },
    );
    expect(seen).toEqual(['seen-by-the-client']);
  });

  test('gets a refusal as RpcError with its reason, facts and details', async () => {
    const [taken] = await openSlots(server, doctor.id, { count: 2, inMinutes: 300 });
    const other = await person(server, 'PATIENT');
    const bookings = keep(createGrpcClient(BookingService, address, { token: patient.token }));
    await bookings.bookSlot({ requestId: uuid(), slotId: taken?.id }, { metadata: {} });
    const late = keep(createGrpcClient(BookingService, address, { token: other.token }));
    const request = { requestId: uuid(), slotId: taken?.id };

    const refusal = await refusalOf(late.bookSlot(request));
    expect(refusal).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'SLOT_TAKEN', retryAfterMs: undefined });
    expect(refusal.message).toMatch(/^FAILED_PRECONDITION SLOT_TAKEN: ./);
    expect(refusal.details(SlotAlternativesSchema)[0]?.slots[0]?.doctorId).toBe(doctor.id);
    expect(refusal.trailer.get('idempotency-replayed')).toEqual([]);
    expect((await refusalOf(late.bookSlot(request))).trailer.get('idempotency-replayed')).toEqual(['true']);

    const unreadable = await refusalOf(late.bookSlot({ requestId: 'none', slotId: taken?.id }));
    expect(unreadable).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'FIELD_INVALID' });
    expect(unreadable.details(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe('request_id');
    expect(unreadable.details(SlotAlternativesSchema)).toEqual([]);

    const wrongRole = keep(createGrpcClient(BookingService, address, { token: doctor.token }));
    expect(await refusalOf(wrongRole.bookSlot(request))).toMatchObject({
      code: status.PERMISSION_DENIED,
      metadata: { roles: 'ROLE_PATIENT' },
    });
  });

  test('asks for the token before each call', async () => {
    const tokens = [patient.token, undefined, 'forged'];
    const auth = keep(createGrpcClient(AuthService, address, { token: async () => tokens.shift() }));
    expect((await auth.getCurrentUser({})).user?.id).toBe(patient.id);
    for (const _ of tokens) expect(await refusalOf(auth.getCurrentUser({}))).toMatchObject({ reason: 'TOKEN_INVALID' });
  });

  test('passes on why there is no token', async () => {
    const token = () => Promise.reject(new Error('signed out'));
    const auth = keep(createGrpcClient(AuthService, address, { token }));
    await expect(auth.getCurrentUser({})).rejects.toThrow('signed out');
  });
});

describe('time', () => {
  test('a deadline ends a call that nobody answers', async () => {
    const auth = keep(createGrpcClient(AuthService, await silence(), { deadlineMs: 200 }));
    const started = Date.now();
    const refusal = await refusalOf(auth.getCurrentUser({}));
    expect(refusal).toMatchObject({ code: status.DEADLINE_EXCEEDED, reason: undefined });
    expect(Date.now() - started).toBeLessThan(4_000);
  });

  test('the deadline of one call counts more than the client’s', async () => {
    const auth = keep(createGrpcClient(AuthService, await silence(), { deadlineMs: 60_000 }));
    const refusal = await refusalOf(auth.getCurrentUser({}, { deadlineMs: 50 }));
    expect(refusal.code).toBe(status.DEADLINE_EXCEEDED);
  });

  test('a signal ends a call, and says why', async () => {
    const auth = keep(createGrpcClient(AuthService, await silence()));
    const controller = new AbortController();
    const refusal = refusalOf(auth.getCurrentUser({}, { signal: controller.signal }));
    setTimeout(() => controller.abort(new Error('the page was left')), 50);
    expect(await refusal).toMatchObject({ code: status.CANCELLED, cause: { message: 'the page was left' } });
    expect(await refusalOf(auth.getCurrentUser({}, { signal: controller.signal }))).toMatchObject({
      code: status.CANCELLED,
      cause: { message: 'the page was left' },
    });
  });
});

describe('a stream', () => {
  test('is read in a loop, and ends when the loop does', async () => {
    const health = keep(createGrpcClient(Health, address));
    const seen: Serving[] = [];
    for await (const { status } of health.watch({})) {
      seen.push(status);
      break;
    }
    expect(seen).toEqual([Serving.SERVING]);
    const ended = () => server.logged.some((line) => line.includes('Health/Watch') && line.includes('CANCELLED'));
    while (!ended()) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  test('ends with its signal and with its deadline', async () => {
    const health = keep(createGrpcClient(Health, address));
    const controller = new AbortController();
    const read = async (options: Parameters<typeof health.watch>[1]) => {
      for await (const _ of health.watch({}, options)) controller.abort();
    };
    expect(await refusalOf(read({ signal: controller.signal }))).toMatchObject({ code: status.CANCELLED });
    expect(await refusalOf(read({ deadlineMs: 100 }))).toMatchObject({ code: status.DEADLINE_EXCEEDED });
  });
});

test.each([
  ['this machine', '127.0.0.1', 'P'],
  ['any other', '0.0.0.0', '\x16'],
])('without credentials, to %s: %s gets the right first byte', async (_, host, firstByte) => {
  const bytes = Promise.withResolvers<Buffer>();
  const quiet = keep(await wire((socket) => socket.once('data', bytes.resolve)));
  const auth = keep(createGrpcClient(AuthService, `${host}:${quiet.port}`, { deadlineMs: 3_000 }));
  void auth.getCurrentUser({}).catch(() => {});
  expect((await bytes.promise).toString('latin1')[0]).toBe(firstByte);
});

/** Closed after the tests. */
function keep<T extends { close(): unknown }>(client: T): T {
  closers.push(client);
  return client;
}

async function refusalOf(call: Promise<unknown>): Promise<RpcError> {
  const error = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof RpcError) return error;
  throw error ?? new Error('the call was answered');
}

/** The address of a server that takes connections and says nothing. */
async function silence(): Promise<string> {
  return `127.0.0.1:${keep(await wire(() => {})).port}`;
}
