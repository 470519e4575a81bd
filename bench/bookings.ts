import { BookingService } from '../gen/amrutam/booking/v1/booking_pb.ts';
import type { BenchDatabase } from './bench-database.ts';
import { fill, type Headers, idOf, patientHeaders } from './clinic.ts';
import type { Measured } from './generator-protocol.ts';
import type { Stage } from './stage.ts';

/** Distinct slots of a filled database, each to be booked once, by the patient of the same number. */
export interface Bookings {
  readonly database: BenchDatabase;
  /** As many as patients. */
  readonly doctors: number;
  /** Headers of the patients. */
  callers(): Promise<Headers[]>;
  /**
   * Has slots booked that nothing has touched: the next `count`, numbered from `first` on. Throws an Error unless as many more
   * bookings, or `booked`, are there then.
   */
  make<T>(count: number, book: (first: number) => Promise<T>, booked?: number): Promise<T>;
  /** Books them by BookSlot at these ports. */
  overGrpc(ports: readonly number[], count: number, inFlight: number): Promise<Measured>;
}

const DOCTORS = 1_000;
/** Half of a token's life. */
const FRESH_MS = 5 * 60_000;

/** A new database in which at least `most` bookings can be made. */
export async function openBookings(stage: Stage, most: number): Promise<Bookings> {
  const database = await stage.database();
  await fill(database, { doctors: DOCTORS, slotsEach: Math.ceil(most / DOCTORS) });
  let next = 0;
  let headers: { readonly of: Promise<Headers[]>; readonly issuedAt: number } | undefined;
  const callers = () => {
    if (!headers || Date.now() - headers.issuedAt > FRESH_MS)
      headers = { of: patientHeaders(stage, DOCTORS), issuedAt: Date.now() };
    return headers.of;
  };
  const bookings: Bookings = {
    database,
    doctors: DOCTORS,
    callers,
    async make(count, book, booked = count) {
      const first = next;
      next += count;
      const before = await countBookings(database);
      const done = await book(first);
      const made = (await countBookings(database)) - before;
      if (made !== booked) throw new Error(`${made} more bookings are in the database, not ${booked}`);
      return done;
    },
    overGrpc: (ports, count, inFlight) =>
      bookings.make(count, async (first) => {
        const calls = {
          method: BookingService.method.bookSlot,
          callers: await callers(),
          messages: asked(first, count),
        };
        return stage.load.call(ports, calls, { inFlight });
      }),
  };
  return bookings;
}

/** Of each call: its caller's place, and its request. */
function asked(first: number, count: number) {
  return Array.from({ length: count }, (_, i) => {
    const n = first + i;
    const request = { requestId: idOf('request', n), slotId: idOf('slot', n), reasonForVisit: 'a cough' };
    return [n % DOCTORS, request] as const;
  });
}

/** How many there are. */
export async function countBookings({ query }: BenchDatabase): Promise<number> {
  const [row] = await query<{ count: number }>('SELECT count(*)::integer AS count FROM booking');
  return row?.count ?? 0;
}
