import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../src/db/sql.ts';
import { forkFor, rows } from '../src/db/statement.ts';
import { brokenInvariants, openSlots, type Person, people } from '../test/support/people.ts';
import { type Clients, type Outcome, outcomeOf, tally } from '../test/support/process-client.ts';
import type { Clinic } from './clinic.ts';
import type { Report } from './drill.ts';

/** A booking that a caller was told of, when it was first asked for, and when it was told; as performance.now() has it. */
export interface Acknowledged {
  readonly requestId: string;
  readonly bookingId: string;
  readonly begunAt: number;
  readonly at: number;
}

/** Refusals after which a client asks again, with the same request_id. Anything else is the end of a request. */
const AGAIN = new Set([
  ...['OUTCOME_UNKNOWN', 'OVERLOADED', 'DATABASE_DOWN', 'DRAINING', 'IN_PROGRESS', 'CONTENTION', 'DEADLINE_EXCEEDED'],
  ...['Unavailable', 'DeadlineExceeded', 'Canceled', 'Aborted', 'Unknown', 'Internal', 'RATE_LIMITED'],
]);
const SLOTS_EACH = 400;
const PAUSE_MS = 50;

/** Patients who book one slot after the other, each asking again until a request has an answer. */
export interface Bookers {
  /** Bookings that were acknowledged so far. */
  readonly acknowledged: readonly Acknowledged[];
  /** Every answer and refusal of every try so far. */
  readonly outcomes: readonly Outcome<unknown>[];
  /** Rejects when one of them was told what must not be; the others go on. */
  readonly failed: Promise<never>;
  /** Resolves with the milliseconds from `since` (performance.now()) to the first booking acknowledged after it. */
  servedAfter(since: number, withinMs: number): Promise<number>;
  /** Lets each finish its request, then looks what became of all of them. Throws where a promise is broken. */
  stop(): Promise<Report>;
  /** Has them all give up at once: what became of them is of no interest any more. */
  abandon(): void;
}

/**
 * Starts `count` patients, each with slots of their own, who call what `clients` gives for them in turn: the callers of
 * one instance or of several. The list may change while they call.
 */
export async function startBookers(
  clinic: Clinic,
  {
    count,
    clients,
    slotsEach = SLOTS_EACH,
    pauseMs = 0,
  }: {
    readonly count: number;
    readonly clients: readonly Clients[];
    readonly slotsEach?: number;
    /** Milliseconds between two bookings of a patient. */
    readonly pauseMs?: number;
  },
): Promise<Bookers> {
  const patients = await people(clinic, 'PATIENT', count);
  const doctors = await people(clinic, 'DOCTOR', count);
  const open = await Promise.all(doctors.map(({ id }) => openSlots(clinic, id, { count: slotsEach, minutes: 5 })));
  const acknowledged: Acknowledged[] = [];
  const outcomes: Outcome<unknown>[] = [];
  let stopped = false;
  let abandoned = false;
  let turn = 0;

  async function bookOne(patient: Person, slotId: string): Promise<void> {
    const request = { requestId: randomUUID(), slotId, reasonForVisit: 'a cough' };
    const { requestId } = request;
    const begunAt = performance.now();
    while (!abandoned) {
      const { booking } = clients[turn++ % clients.length] as Clients;
      const outcome = await outcomeOf({ ...patient, timeoutMs: 5_000 }, (as) => booking.bookSlot(request, as));
      outcomes.push(outcome);
      const bookingId = outcome.answer?.booking?.id;
      if (bookingId) return void acknowledged.push({ requestId, bookingId, begunAt, at: performance.now() });
      if (!AGAIN.has(outcome.reason))
        throw new Error(`a booking of a free slot was refused: ${outcome.error?.message}`);
      await sleep(PAUSE_MS);
    }
  }
  async function run(patient: Person, slots: readonly { readonly id: string }[]): Promise<void> {
    for (const { id } of slots) {
      if (stopped) return;
      await bookOne(patient, id);
      await sleep(pauseMs);
    }
    throw new Error('the slots were too few for this drill');
  }
  const running = Promise.all(patients.map((patient, i) => run(patient, open[i] ?? [])));
  const failed = new Promise<never>((_, reject) => {
    running.catch(reject);
  });
  failed.catch(() => {}); // `stop` tells

  return {
    acknowledged,
    outcomes,
    failed,
    async servedAfter(since, withinMs) {
      for (;;) {
        const first = acknowledged.find(({ at }) => at > since);
        if (first) return first.at - since;
        if (performance.now() - since > withinMs) throw new Error(`nothing was booked within ${withinMs} ms`);
        await sleep(10);
      }
    },
    abandon() {
      stopped = true;
      abandoned = true;
    },
    async stop() {
      stopped = true;
      await running;
      return { ...(await lookBack(clinic, acknowledged)), notes: [JSON.stringify(tally(outcomes))] };
    },
  };
}

/** Looks for every acknowledged booking, for requests that took effect twice, and whether the invariants hold. */
export async function lookBack(
  clinic: Clinic,
  acknowledged: readonly Pick<Acknowledged, 'bookingId'>[],
): Promise<Report> {
  const kept = await rows<{ id: string; request_id: string }>(
    forkFor(clinic.orm),
    sql`SELECT b.id, a.request_id FROM booking b JOIN audit_event a ON a.entity_id = b.id AND a.action = 'BookSlot' AND a.outcome = 'DONE'`,
  );
  const ids = new Set(kept.map(({ id }) => id));
  const lost = acknowledged.filter(({ bookingId }) => !ids.has(bookingId)).length;
  const doubled = kept.length - new Set(kept.map(({ request_id }) => request_id)).size;
  const broken = await brokenInvariants(clinic);
  if (lost || doubled || Object.keys(broken).length)
    throw new Error(`${lost} lost, ${doubled} doubled, broken: ${JSON.stringify(broken)}`);
  return { acknowledged: acknowledged.length, lost, doubled };
}
