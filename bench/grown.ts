import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { AvailabilityService } from '../gen/amrutam/availability/v1/availability_pb.ts';
import { BookingService } from '../gen/amrutam/booking/v1/booking_pb.ts';
import type { BenchDatabase } from './bench-database.ts';
import { countBookings } from './bookings.ts';
import { fill, type Headers, idOf } from './clinic.ts';
import type { Instance } from './instance.ts';
import type { Calls } from './load.ts';
import { type Round, roundOf } from './side.ts';
import type { Stage } from './stage.ts';

const SLOTS_EACH = 1_000;
const BOOKINGS = 600;
const LISTS = 1_200;
const DAYS = 60;
const DAY_MS = 24 * 3_600_000;
/** Patients that call, whatever the size. */
export const CALLERS = 100;
/** Calls under way at once. */
export const IN_FLIGHT = 4;

/** A database of one size with an instance on it. */
export interface Grown {
  readonly doctors: number;
  readonly database: BenchDatabase;
  readonly service: Instance;
  /** Midnight before the first slot; milliseconds since 1970. */
  readonly firstDayMs: number;
}

/** One round of each method. */
export interface Visit {
  readonly booked: Round;
  readonly listed: Round;
}

/** Makes a database with so many slots, 1,000 of each doctor: four minutes for ten millions where nothing else runs. */
export async function grow(stage: Stage, slots: number): Promise<Grown> {
  const startedAt = performance.now();
  const database = await stage.database();
  const doctors = slots / SLOTS_EACH;
  await fill(database, { doctors, slotsEach: SLOTS_EACH, patients: Math.max(CALLERS, doctors) });
  await database.query('CHECKPOINT').catch(() => {}); // not everybody may
  const [first] = await database.query<{ day: Date; size: string }>(
    `SELECT date_trunc('day', min(start_at)) AS day, pg_size_pretty(pg_database_size(current_database())) AS size FROM slot`,
  );
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  stage.say(`${slots.toLocaleString('en')} slots, ${first?.size}, filled in ${seconds} s`);
  return { doctors, database, service: await stage.serve(database.url), firstDayMs: +(first?.day ?? 0) };
}

/** Books all over the doctors and times, and lists days; afterwards every slot is open again. No two rounds ask for the same. */
export async function visit(
  stage: Stage,
  grown: Grown,
  { callers, round }: { readonly callers: readonly Headers[]; readonly round: number },
): Promise<Visit> {
  const { database, service } = grown;
  const workers = { service: [service.pid], postgres: stage.postgres };
  const under = (calls: Calls) =>
    roundOf(() => stage.load.call([service.grpcPort], calls, { inFlight: IN_FLIGHT }), workers);
  const booked = await under({ method: BookingService.method.bookSlot, callers, messages: bookings(grown, round) });
  const made = await countBookings(database);
  if (made !== BOOKINGS) throw new Error(`${made} bookings are in the database, not ${BOOKINGS}`);
  const listed = await under({ method: AvailabilityService.method.listSlots, callers, messages: lists(grown, round) });
  await database.query(`UPDATE slot SET state = 'OPEN' WHERE id IN (SELECT slot_id FROM booking)`);
  await database.query('TRUNCATE booking, mail, mail_token');
  return { booked, listed };
}

/** No two at the same time: each time has as many slots as there are doctors. */
function bookings({ doctors }: Grown, round: number) {
  return Array.from({ length: BOOKINGS }, (_, i) => {
    const nth = Math.floor((i * SLOTS_EACH) / BOOKINGS);
    const slotId = idOf('slot', nth * doctors + scattered(i, round, doctors));
    const requestId = idOf('request', round * BOOKINGS + i);
    return [i % CALLERS, { requestId, slotId, reasonForVisit: 'a cough' }] as const;
  });
}

function lists({ doctors, firstDayMs }: Grown, round: number) {
  return Array.from({ length: LISTS }, (_, i) => {
    const dayMs = firstDayMs + ((i * 7 + round) % DAYS) * DAY_MS;
    // No slot lies in the last minute of a day, and no range is asked twice: what is kept in memory answers none of them.
    const untilMs = dayMs + DAY_MS - (round * LISTS + i);
    const range = { from: timestampFromMs(dayMs), until: timestampFromMs(untilMs) };
    return [i % CALLERS, { doctorId: idOf('doctor', scattered(i, round, doctors)), ...range }] as const;
  });
}

/** Two primes, so that neighbours lie far apart. */
function scattered(i: number, round: number, among: number): number {
  return (i * 7_919 + round * 104_729) % among;
}
