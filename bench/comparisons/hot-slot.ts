import { BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { alternate } from '../alternate.ts';
import type { BenchDatabase } from '../bench-database.ts';
import { type Bookings, openBookings } from '../bookings.ts';
import { idOf } from '../clinic.ts';
import type { Comparison } from '../comparison.ts';
import type { Measured } from '../generator-protocol.ts';
import { median, quantile } from '../quantile.ts';
import type { Stage } from '../stage.ts';

const CROWD = 200;

/** A crowd on one slot is told as soon as as many who want different ones. */
export const hotSlot: Comparison = {
  name: 'hot-slot',
  what: `${CROWD} patients at once want one slot: time until all are answered`,
  against: `${CROWD} bookings of distinct slots at once`,
  aim: 'ratio <= 1',
  async run(stage) {
    const [warmUp, crowds, rounds] = stage.short ? [1_000, 5, 5] : [8_000, 20, 15];
    const bookings = await openBookings(stage, warmUp + crowds * 2_000 + rounds * (CROWD + 2_000));
    const service = await stage.serve(bookings.database.url);
    stage.say(`warming up: ${warmUp} bookings, ${crowds} crowds`);
    await bookings.overGrpc([service.grpcPort], warmUp, 32);
    for (let i = 0; i < crowds; i++) await crowd(stage, bookings, service.grpcPort);

    const [hot = [], distinct = []] = await alternate(rounds, [
      () => crowd(stage, bookings, service.grpcPort),
      () => bookings.overGrpc([service.grpcPort], CROWD, CROWD),
    ]);
    const ratio = median(hot.map(({ elapsedMs }, i) => elapsedMs / (distinct[i] as Measured).elapsedMs));
    const ms = (measured: readonly Measured[]) => median(measured.map(({ elapsedMs }) => elapsedMs));
    const last = (measured: readonly Measured[]) => measured.flatMap(({ refusedAfter }) => [...refusedAfter]);
    return {
      figures: [
        { what: 'all answered, one slot / distinct slots', value: ratio, aim: { atMost: 1 } },
        { what: 'one slot, all answered after', value: ms(hot), unit: 'ms' },
        { what: 'distinct slots, all answered after', value: ms(distinct), unit: 'ms' },
        { what: 'one slot, p99 of those refused', value: quantile(last(hot), 0.99), unit: 'ms' },
      ],
      notes: [`${rounds} rounds; in each exactly one of the crowd was booked and ${CROWD - 1} were told SLOT_TAKEN`],
    };
  },
};

/** Throws an Error unless one of them got it and the others were told that it's taken. */
async function crowd(stage: Stage, bookings: Bookings, port: number): Promise<Measured> {
  const { database, doctors } = bookings;
  const callers = (await bookings.callers()).slice(0, CROWD);
  const before = await countTaken(database);
  // A row of slots at the same time is left to them, so that none of them is elsewhere then.
  const measured = await bookings.make(
    2 * doctors,
    (first) => {
      const slotId = idOf('slot', Math.ceil(first / doctors) * doctors);
      const messages = callers.map((_, i) => {
        return [i, { requestId: idOf('request', first + i), slotId, reasonForVisit: 'a cough' }] as const;
      });
      return stage.load.call(
        [port],
        { method: BookingService.method.bookSlot, callers, messages },
        { inFlight: CROWD },
      );
    },
    1,
  );
  const taken = (await countTaken(database)) - before;
  if (measured.latencies.length !== 1 || taken !== CROWD - 1)
    throw new Error(`${measured.latencies.length} of the crowd booked, ${taken} were told SLOT_TAKEN`);
  return measured;
}

async function countTaken({ query }: BenchDatabase): Promise<number> {
  const rows = await query(`SELECT FROM audit_event WHERE outcome = 'REFUSED' AND reason = 'SLOT_TAKEN'`);
  return rows.length;
}
