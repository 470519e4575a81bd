import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openSlots, type Person, people } from '../test/support/people.ts';
import { clientsOf, type Outcome, outcomeOf } from '../test/support/process-client.ts';
import type { Service } from '../test/support/process-service.ts';
import type { Clinic } from './clinic.ts';
import { whileLocked } from './while-locked.ts';

/** DATABASE_POOL where nobody sets it. */
const POOL = 20;
/** Less than a lock is waited for. */
const GATHER_MS = 1_700;
const TRIES = 3;

/**
 * Throws unless every connection of each instance's pool can be used at once: as many bookings as there are connections
 * are made to wait for a lock together, and then must all be made.
 */
export async function poolsMustBeFull(clinic: Clinic, services: readonly Service[], size = POOL): Promise<void> {
  const patients = await people(clinic, 'PATIENT', size);
  const [doctor] = await people(clinic, 'DOCTOR', 1);
  let ahead = 60;
  for (const service of services) {
    let most = 0;
    for (let tries = 0; tries < TRIES && most < size; tries++) {
      const slots = await openSlots(clinic, (doctor as Person).id, { count: size, inMinutes: ahead, minutes: 5 });
      ahead += size * 5;
      const book = () =>
        patients.map((patient, i) =>
          outcomeOf(patient, (as) =>
            clientsOf(service)
              .turn(i)
              .booking.bookSlot({ requestId: randomUUID(), slotId: slots[i]?.id ?? '' }, as),
          ),
        );
      most = Math.max(most, await gathered(clinic, { patients, book, service, size }));
    }
    if (most < size) throw new Error(`only ${most} of an instance's ${size} connections could be used`);
  }
}

interface Gathering {
  readonly patients: readonly Person[];
  readonly book: () => Promise<Outcome<unknown>>[];
  readonly service: Service;
  readonly size: number;
}

/** How many of the bookings waited at once, each on a connection; 0 when one of them was not made in the end. */
async function gathered(clinic: Clinic, { patients, book, service, size }: Gathering): Promise<number> {
  let calls: Promise<Outcome<unknown>>[] = [];
  const held = { table: 'app_user', rows: patients, services: [service] } as const;
  const most = await whileLocked(clinic, held, async (waiting) => {
    calls = book();
    let seen = 0;
    for (const end = Date.now() + GATHER_MS; seen < size && Date.now() < end; await sleep(20))
      seen = Math.max(seen, await waiting());
    return seen;
  });
  const outcomes = await Promise.all(calls);
  return outcomes.every(({ reason }) => reason === 'OK') ? most : 0;
}
