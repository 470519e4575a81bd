import { randomUUIDv7 as uuid } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { RetryInfoSchema } from '../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../gen/google/rpc/status_pb.ts';
import { brokenInvariants, openSlots, type Person, person } from '../test/support/people.ts';
import { startServer, type TestServer } from '../test/support/server.ts';
import {
  AuthService,
  AvailabilityService,
  BookingService,
  createGrpcClient,
  type GrpcClient,
  Metadata,
  RpcError,
  status,
} from './index.ts';
import { mayRetry, retryDelayMs, retrying } from './retry.ts';
import { freePort, lossyWire } from './wire.fixture.ts';

let server: TestServer;
let patient: Person;
const closers: { close(): unknown }[] = [];

beforeAll(async () => {
  server = await startServer();
  patient = await person(server, 'PATIENT');
});

afterAll(async () => {
  for (const closer of closers) closer.close();
  await server?.stop();
});

describe('retries', () => {
  test('a connection cut after the commit: the same request again, and one booking', async () => {
    const [slot] = await openSlots(server, (await person(server, 'DOCTOR')).id);
    const proxy = keep(await lossyWire(server.grpcPort));
    const options = { token: patient.token, retry: { attempts: 4 } };
    const bookings = keep(createGrpcClient(BookingService, `127.0.0.1:${proxy.port}`, options));
    await bookings.listBookings({});
    const replayed: unknown[] = [];

    proxy.swallowAnswers();
    const answer = bookings.bookSlot(
      { requestId: uuid(), slotId: slot?.id },
      { deadlineMs: 20_000, onHeader: (header) => replayed.push(...header.get('idempotency-replayed')) },
    );
    const direct = keep(createGrpcClient(BookingService, `127.0.0.1:${server.grpcPort}`, { token: patient.token }));
    while ((await direct.listBookings({})).bookings.length === 0);
    proxy.cut();
    const { booking } = await answer;
    const { bookings: all } = await bookings.listBookings({});
    expect(all.map(({ id }) => id)).toEqual([booking?.id]);
    expect(replayed).toEqual(['true']);
    expect(await brokenInvariants(server)).toEqual({});
  });

  test.each([
    ['a booking that names its request', 3, (to: Clients) => to.bookings.bookSlot({ requestId: uuid() })],
    ['a booking that doesn’t', 1, (to: Clients) => to.bookings.bookSlot({})],
    ['a search', 3, (to: Clients) => to.doctors.searchDoctors({})],
    ['a log-in', 1, (to: Clients) => to.auth.logIn({})],
  ])('nobody there, three tries allowed: %s is tried %i times', async (_, tries, call) => {
    let tried = 0;
    const count = () => {
      tried++;
      return undefined;
    };
    const nobody = `127.0.0.1:${await freePort()}`;
    const options = { token: count, retry: { attempts: 3 } };
    const clients = {
      auth: keep(createGrpcClient(AuthService, nobody, options)),
      bookings: keep(createGrpcClient(BookingService, nobody, options)),
      doctors: keep(createGrpcClient(AvailabilityService, nobody, options)),
    };
    expect(await refusalOf(call(clients))).toMatchObject({ code: status.UNAVAILABLE, reason: undefined });
    expect(tried).toBe(tries);
  });

  test('a refusal is final', async () => {
    let tried = 0;
    const token = () => {
      tried++;
      return patient.token;
    };
    const bookings = keep(
      createGrpcClient(BookingService, `127.0.0.1:${server.grpcPort}`, { token, retry: { attempts: 5 } }),
    );
    const refusal = await refusalOf(bookings.bookSlot({ requestId: uuid(), slotId: uuid() }));
    expect(refusal.reason).toBe('SLOT_NOT_FOUND');
    expect(tried).toBe(1);
  });

  test('a signal ends the tries', async () => {
    const nobody = `127.0.0.1:${await freePort()}`;
    const doctors = keep(createGrpcClient(AvailabilityService, nobody, { retry: { attempts: 1_000 } }));
    const signal = AbortSignal.timeout(300);
    const refusal = await refusalOf(doctors.searchDoctors({}, { signal, deadlineMs: 60_000 }));
    expect(refusal).toMatchObject({ code: status.CANCELLED, cause: signal.reason });
  });

  test('a server that wants a minute gets it, but not past the deadline and not past the signal', async () => {
    const busy = busyFor({ seconds: 60n });
    const trying = { attempts: 2, repeatable: true, signal: AbortSignal.timeout(200) };
    const attempt = jest.fn(() => Promise.reject(busy));
    await expect(retrying(attempt, { ...trying, endsAt: Date.now() + 10_000 })).rejects.toBe(busy);
    expect(attempt).toHaveBeenCalledTimes(1);
    expect(trying.signal.aborted).toBe(false);
    await expect(retrying(attempt, { ...trying, endsAt: Date.now() + 100_000 })).rejects.toBe(busy);
    expect(trying.signal.aborted).toBe(true);
    expect(attempt).toHaveBeenCalledTimes(3);
  });
});

test('what may be tried again: what failed for the moment, if it can’t happen twice', () => {
  const may = (code: status, reason: string | undefined, repeatable: boolean) =>
    mayRetry({ code, reason } as RpcError, { repeatable });
  expect(may(status.ABORTED, 'IN_PROGRESS', true)).toBe(true);
  expect(may(status.UNAVAILABLE, 'OUTCOME_UNKNOWN', true)).toBe(true);
  expect(may(status.UNAVAILABLE, 'OUTCOME_UNKNOWN', false)).toBe(false);
  expect(may(status.UNAVAILABLE, undefined, false)).toBe(false);
  expect(may(status.UNAVAILABLE, 'DRAINING', false)).toBe(true);
  expect(may(status.ABORTED, 'CONTENTION', false)).toBe(true);
  expect(may(status.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED', true)).toBe(false);
  expect(may(status.RESOURCE_EXHAUSTED, 'RATE_LIMITED', true)).toBe(false);
});

test('the wait is never shorter than the server asked for, grows, and ends', () => {
  const waits = (tries: number) => Array.from({ length: 200 }, () => retryDelayMs({ retryAfterMs: 700 }, tries));
  expect(Math.min(...waits(1))).toBeGreaterThanOrEqual(700);
  expect(Math.max(...waits(1))).toBeLessThanOrEqual(800);
  expect(Math.max(...waits(4))).toBeGreaterThan(800);
  expect(Math.max(...waits(1_000))).toBeLessThanOrEqual(5_700);
});

interface Clients {
  readonly auth: GrpcClient<typeof AuthService>;
  readonly bookings: GrpcClient<typeof BookingService>;
  readonly doctors: GrpcClient<typeof AvailabilityService>;
}

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

function busyFor(retryDelay: { seconds: bigint }): RpcError {
  const retry = anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay }));
  const metadata = new Metadata();
  metadata.set(
    'grpc-status-details-bin',
    Buffer.from(toBinary(StatusSchema, create(StatusSchema, { details: [retry] }))),
  );
  return new RpcError({ code: status.UNAVAILABLE, details: 'busy', metadata });
}
