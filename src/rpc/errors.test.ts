import { Code, ConnectError } from '@connectrpc/connect';
import { errorToJson } from '@connectrpc/connect/protocol-connect';
import { describe, expect, test } from '@jest/globals';
import { SlotAlternativesSchema } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { Fault, type Reason } from '../fault.ts';
import { CODE, refusalBytes, refusalFromBytes, toConnectError } from './errors.ts';

const REASONS = Object.keys(CODE) as Reason[];
const taken = new Fault('SLOT_TAKEN', 'the slot is taken', {
  metadata: { why: 'race' },
  violations: [{ field: 'slot_id', description: 'is taken', rule: 'slot.open' }],
  details: [{ desc: SlotAlternativesSchema, value: { slots: [{ id: 'a', startTime: { seconds: 60n } }] } }],
});

describe('a Fault', () => {
  test.each(REASONS)('%s travels as its code with its reason first', (reason) => {
    const error = toConnectError(new Fault(reason, 'no'));
    expect([error.code, error.rawMessage]).toEqual([CODE[reason], 'no']);
    expect(error.details[0]).toMatchObject({
      desc: ErrorInfoSchema,
      value: { reason, domain: 'amrutam', metadata: {} },
    });
  });

  test.each(REASONS)('%s says when to try again if that makes sense', (reason) => {
    const retries = [Code.Aborted, Code.Unavailable, Code.ResourceExhausted].includes(CODE[reason]);
    const [info] = toConnectError(new Fault(reason, 'no')).findDetails(RetryInfoSchema);
    expect(info !== undefined).toBe(retries && reason !== 'MESSAGE_TOO_LARGE');
  });

  test('details come in order: reason, violations, delay, its own', () => {
    const fault = new Fault('IN_PROGRESS', 'wait', { ...taken.options, retryAfterMs: 1500.2 });
    const names = toConnectError(fault).details.map((detail) => ('desc' in detail ? detail.desc.name : detail.type));
    expect(names).toEqual(['ErrorInfo', 'BadRequest', 'RetryInfo', 'SlotAlternatives']);
    expect(toConnectError(fault).findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({
      seconds: 1n,
      nanos: 501_000_000,
    });
  });

  test('lists twenty violations at most', () => {
    const violations = Array.from({ length: 1000 }, (_, i) => ({ field: `slots[${i}]`, description: 'd', rule: 'r' }));
    const [detail] = toConnectError(new Fault('FIELD_INVALID', 'no', { violations })).findDetails(BadRequestSchema);
    expect(detail?.fieldViolations).toHaveLength(20);
  });

  test('whose message is no text, or whose detail cannot be encoded, breaks no transport', () => {
    expect(toConnectError(new Fault('TOO_LATE', 'a\ud800b')).rawMessage).toBe('a\ufffdb');
    const detail = { desc: SlotAlternativesSchema, value: { slots: [{ startTime: { seconds: 'never' } }] } };
    const error = toConnectError(new Fault('SLOT_TAKEN', 'no', { details: [detail] }));
    expect([error.code, error.rawMessage, error.details]).toEqual([Code.Internal, 'internal error', []]);
    expect(error.cause).toBeInstanceOf(Error);
  });
});

test.each<[string, unknown]>([
  ['an Error', new Error('SELECT secret')],
  ['a string', 'secret'],
  ['nothing', undefined],
  ['a ConnectError of somebody else', new ConnectError('secret', Code.Unknown)],
  ['an internal one', new ConnectError('secret', Code.Internal, { x: 'secret' })],
])('%s leaves as INTERNAL and says nothing', (_what, thrown) => {
  const error = toConnectError(thrown);
  expect([error.code, error.rawMessage, error.details, [...error.metadata]]).toEqual([
    Code.Internal,
    'internal error',
    [],
    [],
  ]);
  expect(JSON.stringify(errorToJson(error, undefined))).not.toContain('secret');
  expect(error.cause).toBe(thrown);
});

test.each<[Code, string, string | undefined]>([
  [Code.ResourceExhausted, 'message size 9 is larger than configured readMaxBytes 1', 'MESSAGE_TOO_LARGE'],
  [Code.InvalidArgument, 'cannot decode field a.B.c from JSON: expected string, got secret', 'MESSAGE_MALFORMED'],
  [Code.Internal, 'parse binary: secret', 'MESSAGE_MALFORMED'],
  [Code.DeadlineExceeded, 'the operation timed out', 'DEADLINE_EXCEEDED'],
  [Code.Canceled, 'This operation was aborted', undefined],
  [Code.Unimplemented, 'a.B.C is not implemented', undefined],
])('the framework’s own code %i is ours', (code, message, reason) => {
  const error = toConnectError(new ConnectError(message, code));
  expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe(reason);
  expect(error.message).not.toContain('secret');
});

describe('a stored refusal', () => {
  const again = refusalFromBytes(refusalBytes(taken), { replayed: true });

  test('is the same in every protocol, down to the bytes', () => {
    expect(errorToJson(again, undefined)).toEqual(errorToJson(toConnectError(taken), undefined));
    expect(refusalBytes(taken)).toEqual(refusalBytes(taken));
  });

  test('says that it is a replay, unless it is none', () => {
    expect(again.metadata.get('idempotency-replayed')).toBe('true');
    expect([...refusalFromBytes(refusalBytes(taken), { replayed: false }).metadata]).toEqual([]);
  });

  test('passes the translator as it is', () => {
    expect(toConnectError(again)).toBe(again);
  });
});
