import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openSlots, type Person, people } from '../../test/support/people.ts';
import { type BothClients, outcomeOf, tally } from '../../test/support/process-client.ts';
import { atInstances } from '../at-instances.ts';
import type { Drill } from '../drill.ts';
import { whileLocked } from '../while-locked.ts';

const CALLS = 30;
const SLOW_DEADLINE_MS = 100;
const HELD_DEADLINE_MS = 400;
/** By then the call must have ended, on a busy machine. */
const ENDED_MS = 1_500;
/** A lock is waited for longer than this: who still waits then has not been cancelled. */
const CANCELLED_MS = 1_300;

export const deadlineOnSlowDatabase: Drill = {
  name: 'deadline-on-slow-database',
  story: 'deadlines of 100 ms on a database that is half a second slower, and of 400 ms on slots that another holds',
  breaks: [
    {
      file: 'src/db/pooled-client.ts',
      from: "signal?.addEventListener('abort', abandon, { once: true });",
      to: '',
      means: 'statements run on when their caller has gone',
    },
  ],
  run: (stage) =>
    atInstances(stage, 1, async ({ clinic, services, clients }) => {
      const [both] = clients as [BothClients];
      const [doctor] = (await people(clinic, 'DOCTOR', 1)) as [Person];
      const slots = await openSlots(clinic, doctor.id, { count: CALLS });
      const patients = await people(clinic, 'PATIENT', CALLS);
      const requests = slots.map(({ id }) => ({ requestId: randomUUID(), slotId: id }));
      const bookAll = (timeoutMs: number) =>
        Promise.all(
          requests.map((request, i) =>
            outcomeOf({ ...(patients[i] as Person), timeoutMs }, (as) => both.turn(i).booking.bookSlot(request, as)),
          ),
        );
      const ended = async (why: string, deadlineMs: number) => {
        const startedAt = performance.now();
        const told = tally(await bookAll(deadlineMs));
        const ms = performance.now() - startedAt;
        stage.say(`${why}: ${JSON.stringify(told)} after ${ms.toFixed(0)} ms`);
        if (told.OK || ms > ENDED_MS) throw new Error(`${why}: ${JSON.stringify(told)} after ${ms.toFixed(0)} ms`);
      };
      await Promise.all(patients.map((patient, i) => both.turn(i).booking.listBookings({}, patient))); // opens connections

      const stillWaiting = await whileLocked(clinic, { services, rows: slots, table: 'slot' }, async (waiting) => {
        const calls = ended('held by another', HELD_DEADLINE_MS);
        const arrived = await mostOf(waiting, HELD_DEADLINE_MS);
        await calls;
        if (arrived === 0) throw new Error('no booking waited for its slot');
        await sleep(CANCELLED_MS - HELD_DEADLINE_MS);
        return waiting();
      });
      if (stillWaiting) throw new Error(`${stillWaiting} statements ran on without a caller`);
      clinic.proxy.delay(250);
      await ended('slow', SLOW_DEADLINE_MS);
      clinic.proxy.delay(0);
      await sleep(3_000);
      const outcomes = await bookAll(10_000);
      const told = tally(outcomes);
      if (told.OK !== CALLS) throw new Error(`the retries ended as ${JSON.stringify(told)}`);
      return {
        booked: outcomes.flatMap(({ answer }) => answer?.booking?.id ?? []),
        notes: ['nothing ran on; every retry booked once'],
      };
    }),
};

/** The highest number that was counted within `ms`. */
async function mostOf(count: () => Promise<number>, ms: number): Promise<number> {
  let most = 0;
  for (const end = Date.now() + ms; Date.now() < end; await sleep(10)) most = Math.max(most, await count());
  return most;
}
