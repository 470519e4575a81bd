import { describe, expect, test } from '@jest/globals';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { Health } from '../../gen/health/v1/health_pb.ts';
import { timeAllowed } from './deadline.ts';
import { setDeadline } from './http-deadline.ts';
import { LIMITS } from './limits.ts';

const { getSlot } = AvailabilityService.method;
const { watch } = Health.method;

describe('a unary call', () => {
  test.each([
    [undefined, 5_000],
    [0, 0],
    [100, 100],
    [30_000, 30_000],
    [31_000, 30_000],
    [Number.MAX_SAFE_INTEGER, 30_000],
  ])('that asks for %s ms gets %i', (asked, allowed) => {
    expect(timeAllowed(asked, getSlot, LIMITS)).toBe(allowed);
  });

  test.each([
    ['application/json', 'connect-timeout-ms', undefined, '5000'],
    ['application/json', 'connect-timeout-ms', '100', '100'],
    ['application/json', 'connect-timeout-ms', '9999999999', '30000'],
    ['application/json', 'connect-timeout-ms', 'rubbish', 'rubbish'],
    ['application/grpc-web+proto', 'grpc-timeout', undefined, '5000m'],
    ['application/grpc', 'grpc-timeout', '100u', '100u'],
    ['application/grpc', 'grpc-timeout', '1H', '30000m'],
    ['application/grpc', 'grpc-timeout', '99999999H', '30000m'],
    ['application/grpc', 'grpc-timeout', '1 S', '1 S'],
  ])('%s with %s %s: %s', (type, name, asked, written) => {
    const header = new Headers({ 'content-type': type, ...(asked === undefined ? {} : { [name]: asked }) });
    setDeadline(header, getSlot, LIMITS);
    expect(header.get(name)).toBe(written);
  });
});

describe('a stream', () => {
  test('has no end unless its caller sets one, which is a day at most', () => {
    expect(timeAllowed(undefined, watch, LIMITS)).toBeUndefined();
    expect(timeAllowed(100_000, watch, LIMITS)).toBe(100_000);
    expect(timeAllowed(1e15, watch, LIMITS)).toBe(86_400_000);
  });
});
