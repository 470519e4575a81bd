import { alternate, ratioOf } from '../alternate.ts';
import { openBookings } from '../bookings.ts';
import { type Comparison, notRun } from '../comparison.ts';
import { hasPgbench, pgbench } from '../pgbench.ts';
import { recordBooking } from '../recorded-booking.ts';
import { roundOf, sideOf } from '../side.ts';

const CLIENTS = 32;

/** How much of what PostgreSQL can do is left when the whole product stands before it. */
export const bookingVsPgbench: Comparison = {
  name: 'booking-vs-pgbench',
  what: 'BookSlot over gRPC, 32 in flight, distinct slots, everything on',
  against: 'pgbench, 32 clients, the same statements prepared, same database',
  aim: 'ratio >= 0.5',
  async run(stage) {
    if (!hasPgbench()) return notRun('pgbench');
    const [warmUp, count, rounds] = stage.short ? [1_000, 30 * CLIENTS, 2] : [8_000, 200 * CLIENTS, 5];
    const bookings = await openBookings(stage, warmUp + 2 * rounds * count + 1);
    const { database, doctors } = bookings;
    const recorded = await bookings.make(1, (first) => recordBooking(database.url, first));
    const service = await stage.serve(database.url);
    const { postgres } = stage;
    const ours = () =>
      roundOf(() => bookings.overGrpc([service.grpcPort], count, CLIENTS), { service: [service.pid], postgres });
    const run = { url: database.url, clients: CLIENTS, bookings: count, doctors };
    const theirs = () =>
      roundOf(() => bookings.make(count, (first) => pgbench(recorded, { ...run, first })), { postgres });

    stage.say(`warming up: ${warmUp} bookings`);
    await bookings.overGrpc([service.grpcPort], warmUp, CLIENTS);
    const [product = [], bare = []] = await alternate(rounds, [ours, theirs]);
    return {
      figures: [{ what: 'bookings/s, ours / pgbench', value: ratioOf(product, bare), aim: { atLeast: 0.5 } }],
      sides: [sideOf('BookSlot', CLIENTS, product), sideOf('pgbench', CLIENTS, bare)],
      notes: ['the service has 20 connections, pgbench 32; what pgbench itself needs of the CPU is not told'],
    };
  },
};
