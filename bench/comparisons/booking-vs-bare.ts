import { alternate, ratioOf } from '../alternate.ts';
import { startBareServer } from '../bare-booking.ts';
import { openBookings } from '../bookings.ts';
import type { Comparison } from '../comparison.ts';
import { recordBooking } from '../recorded-booking.ts';
import { roundOf, sideOf } from '../side.ts';

const IN_FLIGHT = 32;

/** What tokens, roles, rules, limits, log and unit of work cost on top of the statements. */
export const bookingVsBare: Comparison = {
  name: 'booking-vs-bare',
  what: 'BookSlot over gRPC, 32 in flight, distinct slots, everything on',
  against: 'a bare grpc-js handler sending the same statements through pg',
  aim: 'ratio >= 0.85',
  async run(stage) {
    const [warmUp, count, rounds] = stage.short ? [1_000, 1_000, 2] : [8_000, 6_000, 5];
    const bookings = await openBookings(stage, 2 * (warmUp + rounds * count) + 1);
    const { database, doctors } = bookings;
    const recorded = await bookings.make(1, (first) => recordBooking(database.url, first));
    const service = await stage.serve(database.url);
    const bare = await startBareServer(stage, recorded, { url: database.url, doctors });
    const { postgres, profiles } = stage;
    const round = ({ grpcPort, pid }: { grpcPort: number; pid: number }) =>
      roundOf(() => bookings.overGrpc([grpcPort], count, IN_FLIGHT), { service: [pid], postgres, profiles });

    stage.say(`warming up: ${warmUp} bookings each`);
    for (const { grpcPort } of [service, bare]) await bookings.overGrpc([grpcPort], warmUp, IN_FLIGHT);
    const [ours = [], theirs = []] = await alternate(rounds, [() => round(service), () => round(bare)]);
    return {
      figures: [{ what: 'bookings/s, ours / bare', value: ratioOf(ours, theirs), aim: { atLeast: 0.85 } }],
      sides: [sideOf('BookSlot', IN_FLIGHT, ours), sideOf('bare handler', IN_FLIGHT, theirs)],
      notes: ['both have 20 connections; ours sends BEGIN together with the first statement, which pg can not'],
    };
  },
};
