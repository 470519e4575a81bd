import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { SlotAlternativesSchema } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { Fault } from '../fault.ts';
import { refusalBytes, refusalFromBytes } from './errors.ts';
import { type Listeners, listeners, transports } from './listeners.fixture.ts';

const ID = '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e';
const TAKEN = new Fault('SLOT_TAKEN', 'the slot is taken – schade', {
  metadata: { why: 'race' },
  details: [{ desc: SlotAlternativesSchema, value: { slots: [{ id: ID, doctorId: 'd' }] } }],
});

const aborted: unknown[] = [];

const GET_SLOT: Record<
  string,
  (ctx: { responseHeader: Headers; responseTrailer: Headers; signal: AbortSignal }) => Promise<object>
> = {
  success: async ({ responseHeader, responseTrailer }) => {
    responseHeader.set('x-colour', 'blue');
    responseHeader.set('x-bytes-bin', 'AAECAw');
    responseTrailer.set('x-last', 'word');
    return { slot: { id: ID } };
  },
  fault: async ({ responseHeader }) => {
    responseHeader.set('x-colour', 'red');
    throw TAKEN;
  },
  replayed: async () => {
    throw refusalFromBytes(refusalBytes(TAKEN), { replayed: true });
  },
  bug: async () => {
    throw new Error('secret of the database');
  },
  busy: async () => {
    throw new Fault('OVERLOADED', 'too much work', { retryAfterMs: 1250 });
  },
  deaf: () => new Promise((resolve) => setTimeout(() => resolve({}), 1500).unref()),
  huge: async () => ({ slot: { id: 'x'.repeat(1_100_000) } }),
  cancelled: ({ signal }) =>
    new Promise((_, reject) =>
      signal.addEventListener('abort', () => {
        aborted.push(signal.reason);
        reject(new Error('stopped'));
      }),
    ),
};

let served: Listeners;
let clients: Record<string, Transport>;

beforeAll(async () => {
  served = await listeners({
    availability: {
      getSlot: (_request, ctx) => GET_SLOT[ctx.requestHeader.get('x-case') ?? 'success']?.(ctx) ?? {},
    },
  });
  clients = transports(served);
});

afterAll(() => served.close());

describe.each([
  'gRPC, grpc-js client',
  'gRPC',
  'gRPC-Web',
  'Connect JSON',
  'Connect binary',
  'Connect GET',
  'gRPC, TLS',
  'gRPC-Web, TLS',
  'Connect, TLS',
  'Connect, TLS, HTTP/1',
])('%s', (name) => {
  const call = async (which: string, headers: Record<string, string> = {}, signal?: AbortSignal) => {
    const transport = clients[name];
    if (!transport) throw new Error(`no client for ${name}`);
    const seen: { header?: Headers; trailer?: Headers } = {};
    const answer = await createClient(AvailabilityService, transport)
      .getSlot(
        { slotId: ID },
        {
          headers: { 'x-case': which, 'x-request-id': `id-${which}`, ...headers },
          signal,
          onHeader: (header) => (seen.header = header),
          onTrailer: (trailer) => (seen.trailer = trailer),
        },
      )
      .catch((error: unknown) => ConnectError.from(error));
    return { answer, ...seen, error: answer instanceof ConnectError ? answer : new ConnectError('no error') };
  };

  test('an answer, with headers and trailers of the handler', async () => {
    const { answer, header, trailer } = await call('success');
    expect(answer).toMatchObject({ slot: { id: ID } });
    expect(header?.get('x-colour')).toBe('blue');
    expect(header?.get('x-bytes-bin')?.replace(/=*$/, '')).toBe('AAECAw');
    expect(header?.get('x-request-id')).toBe('id-success');
    expect(trailer?.get('x-last')).toBe('word');
  });

  test('a Fault: code, message, reason, details, headers', async () => {
    const { error } = await call('fault');
    expect([error.code, error.rawMessage]).toEqual([Code.FailedPrecondition, 'the slot is taken – schade']);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([
      { reason: 'SLOT_TAKEN', domain: 'amrutam', metadata: { why: 'race' } },
    ]);
    expect(error.findDetails(SlotAlternativesSchema)).toEqual([
      create(SlotAlternativesSchema, { slots: [{ id: ID, doctorId: 'd' }] }),
    ]);
    expect(error.metadata.get('x-request-id')).toBe('id-fault');
    expect(error.metadata.get('x-colour')).toBe('red');
    expect(error.metadata.get('idempotency-replayed')).toBeNull();
  });

  test('a stored refusal, the same again and marked', async () => {
    const [first, again] = [(await call('fault')).error, (await call('replayed')).error];
    expect([again.code, again.rawMessage, again.details]).toEqual([first.code, first.rawMessage, first.details]);
    expect(again.metadata.get('idempotency-replayed')).toBe('true');
  });

  test('a refusal that may be tried again says when', async () => {
    const { error } = await call('busy');
    expect(error.code).toBe(Code.Unavailable);
    expect(error.findDetails(RetryInfoSchema)).toMatchObject([{ retryDelay: { seconds: 1n, nanos: 250_000_000 } }]);
  });

  test('an unexpected error says nothing, and is logged whole, once', async () => {
    const before = served.log.length;
    const { error } = await call('bug');
    expect([error.code, error.rawMessage, error.details]).toEqual([Code.Internal, 'internal error', []]);
    expect(error.metadata.get('x-request-id')).toBe('id-bug');
    expect(JSON.stringify([...error.metadata])).not.toContain('secret');
    const lines = served.log.slice(before).filter(({ err }) => String(err).includes('secret'));
    expect(lines).toMatchObject([{ level: 'error', requestId: 'id-bug' }]);
  });

  test('an answer over 1 MiB is an unexpected error', async () => {
    expect((await call('huge')).error).toMatchObject({ code: Code.Internal, rawMessage: 'internal error' });
  });

  test('the deadline ends a call whose handler does not notice', async () => {
    const startedAt = performance.now();
    const { error } = await call('deaf', {
      'grpc-timeout': '120m',
      'connect-timeout-ms': '120',
      'x-test-deadline': '120',
    });
    expect(performance.now() - startedAt).toBeLessThan(1000);
    expect(error.code).toBe(Code.DeadlineExceeded);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: 'DEADLINE_EXCEEDED' }]);
    expect(error.metadata.get('x-request-id')).toBe('id-deaf');
  });

  test('a cancel reaches the handler', async () => {
    const [before, lines] = [aborted.length, served.log.length];
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const { error } = await call('cancelled', {}, controller.signal);
    expect(error.code).toBe(Code.Canceled);
    for (let i = 0; i < 100 && aborted.length === before; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(aborted.length).toBe(before + 1);
    expect(served.log.slice(lines)).toMatchObject([{ level: 'info', code: 'CANCELLED', requestId: 'id-cancelled' }]);
  });
});
