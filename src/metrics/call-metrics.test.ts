import { expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import type { EndedCall } from '../rpc/observe.ts';
import { callMetrics } from './call-metrics.ts';

const BOOKED: EndedCall = {
  method: BookingService.method.bookSlot,
  code: 'OK',
  reason: undefined,
  seconds: 0.004,
  replayed: false,
};

/** The series of `name` after these calls, with their values. */
async function seriesOf(name: string, calls: readonly Partial<EndedCall>[]): Promise<string[]> {
  const registry = new Registry();
  const { called } = callMetrics(registry, BookingService.methods);
  for (const call of calls) called({ ...BOOKED, ...call });
  return (await registry.metrics()).split('\n').filter((line) => line.startsWith(name));
}

test('a booking is booked, replayed, refused or failed, and only calls of BookSlot count', async () => {
  const calls = [
    {},
    { replayed: true },
    { code: 'FAILED_PRECONDITION', reason: 'SLOT_TAKEN' },
    { code: 'FAILED_PRECONDITION', reason: 'SLOT_TAKEN', replayed: true },
    { code: 'ABORTED', reason: 'CONTENTION' },
    { code: 'UNAVAILABLE', reason: 'OUTCOME_UNKNOWN' },
    { code: 'INTERNAL' },
    { method: BookingService.method.cancelBooking },
  ];
  expect(await seriesOf('bookings_total', calls)).toEqual([
    'bookings_total{outcome="booked",reason=""} 1',
    'bookings_total{outcome="replayed",reason=""} 1',
    'bookings_total{outcome="failed",reason="DEADLINE_EXCEEDED"} 0',
    'bookings_total{outcome="failed",reason="OVERLOADED"} 0',
    'bookings_total{outcome="failed",reason="DRAINING"} 0',
    'bookings_total{outcome="failed",reason="DATABASE_DOWN"} 0',
    'bookings_total{outcome="failed",reason="OUTCOME_UNKNOWN"} 1',
    'bookings_total{outcome="failed",reason="INTERNAL"} 1',
    'bookings_total{outcome="refused",reason="SLOT_TAKEN"} 1',
    'bookings_total{outcome="replayed",reason="SLOT_TAKEN"} 1',
    'bookings_total{outcome="refused",reason="CONTENTION"} 1',
  ]);
});

test('whatever a booking may fail of is there with a zero before it does, so that the first burst is a rate', async () => {
  const [zero, burst] = await Promise.all(
    [0, 3].map((failures) =>
      seriesOf('bookings_total', Array(failures).fill({ code: 'UNAVAILABLE', reason: 'DATABASE_DOWN' })),
    ),
  );
  expect(zero).toContain('bookings_total{outcome="failed",reason="DATABASE_DOWN"} 0');
  expect(burst).toContain('bookings_total{outcome="failed",reason="DATABASE_DOWN"} 3');
});

test('and so are the calls of every method, and the reasons of refusals', async () => {
  const [calls, refusals] = await Promise.all([
    seriesOf('rpc_server_calls_total', []),
    seriesOf('rpc_refusals_total', []),
  ]);
  expect(calls).toHaveLength(BookingService.methods.length * 6);
  expect(calls).toContain(
    'rpc_server_calls_total{method="amrutam.booking.v1.BookingService/GetBooking",code="UNAVAILABLE"} 0',
  );
  expect(refusals).toContain('rpc_refusals_total{reason="CREDENTIALS_INVALID"} 0');
  const late = { code: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_EXCEEDED' };
  const after = await seriesOf('rpc_server_calls_total', [{}, late, late, { code: 'NOT_FOUND' }]);
  for (const [code, count] of [
    ['OK', 1],
    ['DEADLINE_EXCEEDED', 2],
    ['NOT_FOUND', 1],
  ])
    expect(after).toContain(
      `rpc_server_calls_total{method="amrutam.booking.v1.BookingService/BookSlot",code="${code}"} ${count}`,
    );
});

test('calls are timed by method and code, and refusals counted by reason', async () => {
  const late = { method: AvailabilityService.method.listSlots, code: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_EXCEEDED' };
  expect(await seriesOf('rpc_', [{}, {}, { ...late, seconds: 5 }])).toEqual(
    expect.arrayContaining([
      'rpc_server_duration_seconds_bucket{le="0.0025",method="amrutam.booking.v1.BookingService/BookSlot",code="OK"} 0',
      'rpc_server_duration_seconds_bucket{le="0.005",method="amrutam.booking.v1.BookingService/BookSlot",code="OK"} 2',
      'rpc_server_duration_seconds_sum{method="amrutam.availability.v1.AvailabilityService/ListSlots",code="DEADLINE_EXCEEDED"} 5',
      'rpc_refusals_total{reason="DEADLINE_EXCEEDED"} 1',
    ]),
  );
});
