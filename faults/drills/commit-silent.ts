import { randomUUID } from 'node:crypto';
import { openSlots, type Person, people } from '../../test/support/people.ts';
import { clientsOf, type Outcome, outcomeOf } from '../../test/support/process-client.ts';
import { startDatabaseProxy } from '../../test/support/process-proxy.ts';
import { lookBack } from '../bookers.ts';
import { openClinic } from '../clinic.ts';
import type { Drill } from '../drill.ts';
import { poolsMustBeFull } from '../pools.ts';

/** Statement time-out, margin, and what a busy machine adds. */
const KNOWN_MS = 9_000;

export const commitSilent: Drill = {
  name: 'commit-silent',
  story: 'the network falls silent after COMMIT was sent, before or after the database had it, and stays so',
  breaks: [
    {
      file: 'src/db/pooled-client.ts',
      from: 'setTimeout(destroy, statementMs + MARGIN_MS)',
      to: 'setTimeout(destroy, 600_000)',
      means: 'COMMIT waits for a silent database for ever',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    const proxy = await startDatabaseProxy(stage.postgres.url(clinic.database));
    try {
      const service = await clinic.start({ DATABASE_URL: proxy.url });
      const clients = clientsOf(service);
      const [doctor] = (await people(clinic, 'DOCTOR', 1)) as [Person];
      const slots = await openSlots(clinic, doctor.id, { count: 4 });
      const patients = await people(clinic, 'PATIENT', 4);
      const calls = [];
      for (const [i, { id: slotId }] of slots.entries()) {
        const patient = patients[i] as Person;
        const timeoutMs = i < 2 ? 20_000 : undefined;
        const request = { requestId: randomUUID(), slotId };
        const book = (options: object = {}) =>
          outcomeOf({ ...patient, ...options }, (as) => clients.turn(i).booking.bookSlot(request, as));
        const stopped = proxy.nextCommit();
        const startedAt = performance.now();
        const call = book(timeoutMs ? { timeoutMs } : {});
        const commit = await stopped;
        if (i % 2) await commit.deliver();
        calls.push(call.then(({ reason }) => ({ reason, ms: performance.now() - startedAt, timeoutMs, book })));
      }
      const tried = await Promise.all(calls);
      for (const { reason, ms, timeoutMs } of tried) {
        const wanted = timeoutMs ? 'OUTCOME_UNKNOWN' : 'DEADLINE_EXCEEDED';
        if (reason !== wanted || ms > KNOWN_MS)
          throw new Error(`${reason} after ${ms.toFixed(0)} ms instead of ${wanted}`);
      }
      const retries = await Promise.all(tried.map(({ book }) => answered(book)));
      const booked = retries.flatMap(({ answer }) => answer?.booking?.id ?? []);
      if (booked.length !== tried.length)
        throw new Error(`a retry was refused: ${retries.map(({ reason }) => reason)}`);
      const report = await lookBack(
        clinic,
        booked.map((bookingId) => ({ bookingId })),
      );
      await poolsMustBeFull(clinic, [service]);
      const notes = tried.map(
        ({ reason, ms }, i) =>
          `${reason} after ${(ms / 1_000).toFixed(1)} s, then ${retries[i]?.replayed ? 'the first answer' : 'booked'}`,
      );
      return { ...report, notes };
    } finally {
      await proxy.close();
      await clinic.close();
    }
  },
};

/** Asks again while the first try still runs. */
async function answered<T>(book: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
  let outcome = await book();
  for (let tries = 1; outcome.reason === 'IN_PROGRESS' && tries < 3; tries++) outcome = await book();
  return outcome;
}
