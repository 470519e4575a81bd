import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Role } from '../gen/amrutam/access/v1/access_pb.ts';
import { openSlots, people } from '../test/support/people.ts';
import { outcomeOf } from '../test/support/process-client.ts';
import type { Clinic } from './clinic.ts';
import type { Way } from './ways.ts';

/** One call, which nobody repeated. */
export interface CountedCall {
  readonly way: string;
  readonly method: string;
  /** `OK`, the reason of the refusal, or the name of the code when there is none. */
  readonly reason: string;
  readonly message: string | undefined;
  /** performance.now() at its end. */
  readonly at: number;
  readonly ms: number;
}

/** Callers who book, read and log in, and count. */
export interface CountedCalls {
  readonly calls: readonly CountedCall[];
  /** Bookings that were acknowledged. */
  readonly booked: readonly { readonly bookingId: string }[];
  /** Resolves when every caller has ended the call it was in. To be called in the end, whatever happens. */
  stop(): Promise<void>;
}

const CALLERS_EACH = 2;
const SLOTS_EACH = 1_500;
const PAUSE_MS = 60;
/** So short that each of them is nearly always in a call. */
const EAGER_PAUSE_MS = 1;
const LOG_IN_PAUSE_MS = 2_000;
const PASSWORD = 'seven quiet monsoon evenings';

/** Starts on each of `ways` patients who book and read without an end, and one user who logs in; on eager ones readers only. Nobody asks twice. */
export async function startCountedCalls(clinic: Clinic, ways: readonly Way[]): Promise<CountedCalls> {
  const calls: CountedCall[] = [];
  const booked: { readonly bookingId: string }[] = [];
  let stopped = false;

  async function count<T>(way: string, method: string, call: Parameters<typeof outcomeOf<T>>[1], as = {}) {
    const startedAt = performance.now();
    const { reason, answer, error } = await outcomeOf({ timeoutMs: 10_000, ...as }, call);
    const at = performance.now();
    calls.push({ way, method, reason, message: error?.rawMessage, at, ms: at - startedAt });
    return answer;
  }
  async function bookAndRead({ name, clients: { booking, availability } }: Way): Promise<void> {
    const [[patient], [doctor]] = await Promise.all([people(clinic, 'PATIENT', 1), people(clinic, 'DOCTOR', 1)]);
    const doctorId = doctor?.id ?? '';
    const slots = await openSlots(clinic, doctorId, { count: SLOTS_EACH, minutes: 5 });
    for (const { id: slotId } of slots) {
      if (stopped) return;
      const requestId = randomUUID();
      const made = await count(name, 'BookSlot', (as) => booking.bookSlot({ requestId, slotId }, as), patient);
      const bookingId = made?.booking?.id ?? '';
      if (made) booked.push({ bookingId });
      await count(name, 'ListBookings', (as) => booking.listBookings({ pageSize: 5 }, as), patient);
      await count(name, 'ListSlots', (as) => availability.listSlots({ doctorId, pageSize: 5 }, as));
      await sleep(PAUSE_MS);
    }
  }
  async function logIn({ name, clients: { auth } }: Way): Promise<void> {
    const account = { email: `${randomUUID()}@example.test`, password: PASSWORD };
    await count(name, 'SignUp', (as) => auth.signUp({ ...account, displayName: 'Asha', role: Role.PATIENT }, as));
    for (; !stopped; await sleep(LOG_IN_PAUSE_MS)) await count(name, 'LogIn', (as) => auth.logIn(account, as));
  }
  async function readOn({ name, clients: { availability } }: Way): Promise<void> {
    for (; !stopped; await sleep(EAGER_PAUSE_MS))
      await count(name, 'SearchDoctors', (as) => availability.searchDoctors({ pageSize: 1 }, as));
  }
  const callersOf = (way: Way) => {
    const each = way.eager ? readOn : bookAndRead;
    return [...(way.eager ? [] : [logIn(way)]), ...Array.from({ length: CALLERS_EACH }, () => each(way))];
  };
  const running = Promise.all(ways.flatMap(callersOf));
  running.catch(() => {}); // `stop` tells
  return {
    calls,
    booked,
    async stop() {
      stopped = true;
      await running;
    },
  };
}

/** How many calls each way made, how many of them failed and as what, and the slowest hundredth, in milliseconds. */
export function countedByWay(calls: readonly CountedCall[]): string[] {
  return [...Map.groupBy(calls, ({ way }) => way)].map(([way, all]) => {
    const failures = Map.groupBy(failed(all), ({ method, reason, message }) => `${method} ${reason} ${message}`);
    const told = [...failures].map(([what, { length }]) => `, ${length} x ${what}`);
    return `${way}: ${all.length} calls, p99 ${p99(all).toFixed(0)} ms${told.join('')}`;
  });
}

/** Those that were not answered. */
export function failed(calls: readonly CountedCall[]): CountedCall[] {
  return calls.filter(({ reason }) => reason !== 'OK');
}

/** Milliseconds that 99 of 100 calls took at most. */
export function p99(calls: readonly CountedCall[]): number {
  const sorted = calls.map(({ ms }) => ms).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? 0;
}
