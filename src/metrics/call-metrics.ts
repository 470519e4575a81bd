import type { DescMethod } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { Counter, Histogram, type Registry } from 'prom-client';
import { BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { CODE } from '../rpc/errors.ts';
import { isFailure } from '../rpc/failure-codes.ts';
import type { EndedCall } from '../rpc/observe.ts';

/** Seconds: a read from memory takes a tenth of a millisecond, nothing unary more than 30 seconds. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** How a call may end that alerts look at. */
const WATCHED_CODES = Object.keys(status).filter((code) => code === 'OK' || isFailure(code));

/** Why a call may fail: the reasons of the contract, and INTERNAL, which has none. */
const FAILURES = [
  ...Object.entries(CODE)
    .filter(([, code]) => isFailure(status[code] as string))
    .map(([reason]) => reason),
  'INTERNAL',
];

/** What becomes of calls. */
export interface CallMetrics {
  /** Counts a call that has ended. */
  called(call: EndedCall): void;
}

/**
 * Every label has values of the contract alone - methods, codes, reasons - so there are only so many whatever clients send. One call costs
 * about half a microsecond: the child of each series is looked up once.
 */
export function callMetrics(registry: Registry, methods: readonly DescMethod[]): CallMetrics {
  const durations = new Histogram({
    name: 'rpc_server_duration_seconds',
    help: 'Time from a call to its answer, by method and gRPC code.',
    labelNames: ['method', 'code'],
    buckets: BUCKETS,
    registers: [registry],
  });
  const calls = new Counter({
    name: 'rpc_server_calls_total',
    help: 'Calls that have ended, by method and gRPC code.',
    labelNames: ['method', 'code'],
    registers: [registry],
  });
  const refusals = new Counter({
    name: 'rpc_refusals_total',
    help: 'Calls that were refused, by the reason of the contract.',
    labelNames: ['reason'],
    registers: [registry],
  });
  const bookings = new Counter({
    name: 'bookings_total',
    help: 'Calls of BookSlot: booked, replayed (a retry that got the first answer), refused or failed, and for what reason.',
    labelNames: ['outcome', 'reason'],
    registers: [registry],
  });
  // Of a series that begins with more than zero rate() doesn't know the beginning, and of none it knows nothing.
  // (With the buckets of the histogram there would be eighteen times as many.)
  for (const method of methods) for (const code of WATCHED_CODES) calls.inc({ method: nameOf(method), code }, 0);
  for (const reason of Object.keys(CODE)) refusals.inc({ reason }, 0);
  for (const outcome of ['booked', 'replayed']) bookings.inc({ outcome, reason: '' }, 0);
  for (const reason of FAILURES) bookings.inc({ outcome: 'failed', reason }, 0);
  const durationOf = childOf((method: DescMethod) => childOf((code: string) => durations.labels(nameOf(method), code)));
  const callOf = childOf((method: DescMethod) => childOf((code: string) => calls.labels(nameOf(method), code)));
  const refusal = childOf((reason: string) => refusals.labels(reason));
  const booking = childOf((outcome: string) => childOf((reason: string) => bookings.labels(outcome, reason)));
  return {
    called(call) {
      durationOf(call.method)(call.code).observe(call.seconds);
      callOf(call.method)(call.code).inc();
      if (call.reason) refusal(call.reason).inc();
      if (call.method === BookingService.method.bookSlot) booking(outcomeOf(call))(whyOf(call)).inc();
    },
  };
}

function nameOf({ parent, name }: DescMethod): string {
  return `${parent.typeName}/${name}`;
}

function outcomeOf({ code, replayed }: EndedCall): string {
  if (replayed) return 'replayed';
  if (code === 'OK') return 'booked';
  return isFailure(code) ? 'failed' : 'refused';
}

function whyOf({ code, reason }: EndedCall): string {
  return code === 'OK' ? '' : (reason ?? code);
}

/** `make`, once for each key. */
function childOf<K, C>(make: (key: K) => C): (key: K) => C {
  const made = new Map<K, C>();
  return (key) => {
    const known = made.get(key);
    if (known !== undefined) return known;
    const child = make(key);
    made.set(key, child);
    return child;
  };
}
