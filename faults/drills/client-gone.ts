import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openSlots, type Person, people } from '../../test/support/people.ts';
import { type BothClients, clientsOf, outcomeOf, tally } from '../../test/support/process-client.ts';
import { atInstances } from '../at-instances.ts';
import type { Drill } from '../drill.ts';
import { startProxy } from '../proxy.ts';
import { whileLocked } from '../while-locked.ts';

const CALLS = 16;
const ARRIVED_MS = 5_000;
/** A lock is waited for longer than this: who still waits then has not been cancelled. */
const CANCELLED_MS = 1_300;

export const clientGone: Drill = {
  name: 'client-gone',
  story: 'clients vanish - gRPC and HTTP/1.1, their connections reset - while their bookings wait for a lock',
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
      const [service] = services;
      const [both] = clients as [BothClients];
      const grpc = await startProxy(() => service?.grpcPort ?? 0);
      const http = await startProxy(() => service?.httpPort ?? 0);
      try {
        const gone = clientsOf({ grpcPort: grpc.port, httpPort: http.port });
        const [doctor] = (await people(clinic, 'DOCTOR', 1)) as [Person];
        const slots = await openSlots(clinic, doctor.id, { count: CALLS });
        const patients = await people(clinic, 'PATIENT', CALLS);
        const requests = slots.map(({ id }) => ({ requestId: randomUUID(), slotId: id }));
        const bookAll = (at: BothClients) =>
          requests.map((request, i) =>
            outcomeOf(patients[i] as Person, (as) => at.turn(i).booking.bookSlot(request, as)),
          );
        const stillWaiting = await whileLocked(clinic, { services, rows: slots, table: 'slot' }, async (waiting) => {
          const calls = bookAll(gone);
          for (const end = Date.now() + ARRIVED_MS; (await waiting()) === 0 && Date.now() < end; ) await sleep(10);
          const arrived = await waiting();
          if (arrived === 0) throw new Error('no booking waited for its slot');
          grpc.cut();
          http.cut();
          await Promise.all(calls);
          await sleep(CANCELLED_MS);
          stage.say(`${arrived} statements waited when their clients vanished, ${await waiting()} do still`);
          return waiting();
        });
        if (stillWaiting) throw new Error(`${stillWaiting} statements ran on without a caller`);
        await sleep(500);
        const bookings = await stage.postgres.query('SELECT 1 FROM booking', clinic.database);
        if (bookings.length) throw new Error(`${bookings.length} bookings were made for callers who had gone`);
        const outcomes = await Promise.all(bookAll(both));
        const told = tally(outcomes);
        if (told.OK !== CALLS) throw new Error(`the retries ended as ${JSON.stringify(told)}`);
        const booked = outcomes.flatMap(({ answer }) => answer?.booking?.id ?? []);
        return { booked, notes: ['nothing ran on; every retry booked once'] };
      } finally {
        grpc.close();
        http.close();
      }
    }),
};
