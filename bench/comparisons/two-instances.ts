import { alternate, ratioOf } from '../alternate.ts';
import { openBookings } from '../bookings.ts';
import type { Comparison } from '../comparison.ts';
import { roundOf, sideOf } from '../side.ts';

const EACH_IN_FLIGHT = 32;

/** What a second process brings, and who uses the CPU then. */
export const twoInstances: Comparison = {
  name: 'two-instances',
  what: `BookSlot by two instances on one database, ${EACH_IN_FLIGHT} in flight at each`,
  against: 'one of them alone',
  aim: 'none: shows what is the limit',
  async run(stage) {
    const [warmUp, count, rounds] = stage.short ? [1_000, 1_000, 2] : [8_000, 6_000, 5];
    const bookings = await openBookings(stage, 2 * (warmUp + rounds * count));
    const services = [await stage.serve(bookings.database.url), await stage.serve(bookings.database.url)];
    const round = (by: typeof services) => () =>
      roundOf(
        () =>
          bookings.overGrpc(
            by.map(({ grpcPort }) => grpcPort),
            count,
            EACH_IN_FLIGHT * by.length,
          ),
        { service: by.map(({ pid }) => pid), postgres: stage.postgres },
      );

    stage.say(`warming up: ${warmUp} bookings each`);
    for (const { grpcPort } of services) await bookings.overGrpc([grpcPort], warmUp, EACH_IN_FLIGHT);
    const [two = [], one = []] = await alternate(rounds, [round(services), round(services.slice(0, 1))]);
    return {
      figures: [{ what: 'bookings/s, two instances / one', value: ratioOf(two, one) }],
      sides: [sideOf('two instances', 2 * EACH_IN_FLIGHT, two), sideOf('one instance', EACH_IN_FLIGHT, one)],
      notes: ['the CPU of the service is that of both; a core has 1,000 ms a second'],
    };
  },
};
