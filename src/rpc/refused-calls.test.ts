import { create, type DescMethodUnary, type MessageInitShape } from '@bufbuild/protobuf';
import { BytesValueSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AuthService } from '../../gen/amrutam/auth/v1/auth_pb.ts';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { type Listeners, listeners, transports } from './listeners.fixture.ts';

const ID = '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e';
const { getSlot, publishSlots } = AvailabilityService.method;
const { bookSlot } = BookingService.method;
const booking = { requestId: ID, slotId: ID };

let served: Listeners;
let clients: Record<string, Transport>;
let handled = 0;

beforeAll(async () => {
  const answer = () => {
    handled += 1;
    return {};
  };
  served = await listeners({ availability: { getSlot: answer }, booking: { bookSlot: answer } });
  clients = transports(served);
});

afterAll(() => served.close());

describe.each([
  'gRPC, grpc-js client',
  'gRPC',
  'gRPC-Web',
  'Connect JSON',
  'Connect binary',
  'gRPC, TLS',
  'Connect, TLS',
])('%s', (name) => {
  const call = async <M extends DescMethodUnary>(
    method: M,
    message: MessageInitShape<M['input']>,
    headers: Record<string, string> = {},
  ) => {
    const [before, lines] = [handled, served.log.length];
    const header = { 'x-request-id': 'refused', ...headers };
    const error = await clients[name]
      ?.unary(method, undefined, undefined, header, create(method.input, message))
      .then(() => undefined, ConnectError.from);
    const [info] = error?.findDetails(ErrorInfoSchema) ?? [];
    const line = served.log.slice(lines).findLast(({ msg }) => msg === 'call');
    return { error, code: error?.code, reason: info?.reason, info, line, handled: handled > before };
  };

  test('without a token, where one is needed', async () => {
    const { code, reason, line, error } = await call(bookSlot, booking);
    expect([code, reason]).toEqual([Code.Unauthenticated, 'TOKEN_INVALID']);
    expect(error?.metadata.get('x-request-id')).toBe('refused');
    expect(line).toMatchObject({
      requestId: 'refused',
      method: 'amrutam.booking.v1.BookingService/BookSlot',
      code: 'UNAUTHENTICATED',
      reason: 'TOKEN_INVALID',
      callerId: undefined,
      peer: '127.0.0.1',
    });
  });

  test.each([
    ['another scheme', 'Basic cGF0aWVudDpwYXRpZW50', 'TOKEN_INVALID'],
    ['no token', 'Bearer', 'TOKEN_INVALID'],
    ['two tokens', 'Bearer patient, Bearer doctor', 'TOKEN_INVALID'],
    ['an unknown token', 'Bearer nobody', 'TOKEN_INVALID'],
    ['an old token', 'Bearer old', 'TOKEN_EXPIRED'],
  ])('with %s, on a public method too', async (_what, authorization, expected) => {
    const { code, reason, handled } = await call(getSlot, { slotId: ID }, { authorization });
    expect([code, reason, handled]).toEqual([Code.Unauthenticated, expected, false]);
  });

  test('with another role', async () => {
    const { code, info, line } = await call(bookSlot, booking, { authorization: 'Bearer doctor' });
    expect([code, info?.reason, info?.metadata]).toEqual([
      Code.PermissionDenied,
      'ROLE_REQUIRED',
      { roles: 'ROLE_PATIENT' },
    ]);
    expect(line).toMatchObject({ role: 'DOCTOR', callerId: '0192f0c4-7e5a-7b3c-8d2e-000000000002' });
  });

  test('not with the right role, in any case of the scheme', async () => {
    expect(await call(bookSlot, booking, { authorization: 'bEARER patient' })).toMatchObject({
      error: undefined,
      handled: true,
    });
  });

  test('with broken fields', async () => {
    const { code, reason, error, handled } = await call(
      publishSlots,
      { requestId: 'secret', slots: [{}] },
      { authorization: 'Bearer doctor' },
    );
    expect([code, reason, handled]).toEqual([Code.InvalidArgument, 'FIELD_INVALID', false]);
    expect(error?.rawMessage).toBe('request_id: must be a valid UUID');
    expect(error?.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject([
      { field: 'request_id', description: 'must be a valid UUID', reason: 'string.uuid' },
      { field: 'slots[0].start_time', description: 'value is required', reason: 'required' },
      { field: 'slots[0].end_time', reason: 'required' },
    ]);
    expect(JSON.stringify(error?.findDetails(BadRequestSchema))).not.toContain('secret');
  });

  test('with U+0000 in a text', async () => {
    const { reason, error } = await call(
      bookSlot,
      { ...booking, reasonForVisit: 'a\0b' },
      { authorization: 'Bearer patient' },
    );
    expect([reason, error?.rawMessage]).toEqual(['FIELD_INVALID', 'reason_for_visit: is not plain text']);
  });

  test('too large', async () => {
    const { code, reason, error, line, handled } = await call(getSlot, { slotId: 'x'.repeat(70_000) });
    expect([code, reason, handled]).toEqual([Code.ResourceExhausted, 'MESSAGE_TOO_LARGE', false]);
    expect(error?.findDetails(RetryInfoSchema)).toEqual([]);
    expect(error?.metadata.get('x-request-id')).toBe('refused');
    expect(line).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'MESSAGE_TOO_LARGE', requestId: 'refused' });
  });

  test('malformed', async () => {
    const method = { ...getSlot, input: BytesValueSchema };
    const { code, reason, error, line } = await call(method, { value: Uint8Array.of(0xff, 0xfe) });
    expect([code, reason]).toEqual([Code.InvalidArgument, 'MESSAGE_MALFORMED']);
    expect(error?.metadata.get('x-request-id')).toBe('refused');
    expect(line).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'MESSAGE_MALFORMED', requestId: 'refused' });
  });

  test('with rubbish for a deadline', async () => {
    const { code, reason } = await call(
      getSlot,
      { slotId: ID },
      { 'grpc-timeout': 'rubbish', 'connect-timeout-ms': '-5' },
    );
    expect([code, reason]).toEqual([Code.InvalidArgument, 'MESSAGE_MALFORMED']);
  });

  test('with a deadline that has passed', async () => {
    const { code, reason, handled } = await call(
      getSlot,
      { slotId: ID },
      { 'grpc-timeout': '0m', 'connect-timeout-ms': '0' },
    );
    expect([code, reason, handled]).toEqual([Code.DeadlineExceeded, 'DEADLINE_EXCEEDED', false]);
  });

  test('a method that nobody wrote, or knows', async () => {
    const unwritten = await call(AuthService.method.logIn, { email: 'a@b.test', password: 'x'.repeat(15) });
    const unknown = await call({ ...getSlot, name: 'Unknown' }, { slotId: ID });
    expect([unwritten.code, unknown.code]).toEqual([Code.Unimplemented, Code.Unimplemented]);
  });
});

test('JSON with a lone surrogate is refused, and so is a value of the wrong type, without being repeated', async () => {
  const ask = async (body: string) => {
    const response = await fetch(`http://127.0.0.1:${served.http}/amrutam.booking.v1.BookingService/BookSlot`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer patient' },
      body,
    });
    return response.text();
  };
  expect(await ask(`{"requestId":"${ID}","slotId":"${ID}","reasonForVisit":"\\ud800"}`)).toContain(
    'reason_for_visit: is not plain text',
  );
  const malformed = await ask('{"requestId":12345}');
  expect(malformed).toContain('the request is malformed at request_id');
  expect(malformed).not.toContain('12345');
});

test.each(['gzip', 'deflate'] as const)(
  '%s is not unpacked by the gRPC port: a bomb costs what it weighs',
  async (packed) => {
    const client = new grpc.Client(`127.0.0.1:${served.grpc}`, grpc.credentials.createInsecure(), {
      'grpc.default_compression_algorithm': grpc.compressionAlgorithms[packed],
    });
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      const asIs = (bytes: Buffer) => bytes;
      const path = '/amrutam.availability.v1.AvailabilityService/GetSlot';
      client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(20_000_000, 1), resolve);
    });
    expect([error?.code, error?.details]).toEqual([
      grpc.status.UNIMPLEMENTED,
      'requests are taken without compression only',
    ]);
    client.close();
  },
);
