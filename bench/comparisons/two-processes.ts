import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { alternate, ratioOf } from '../alternate.ts';
import { type Bookings, openBookings } from '../bookings.ts';
import { idOf } from '../clinic.ts';
import type { Comparison } from '../comparison.ts';
import type { Instance } from '../instance.ts';
import { type Round, roundOf, sideOf } from '../side.ts';
import type { Stage } from '../stage.ts';

const IN_FLIGHT = 64;

/** What PROCESSES brings on one machine: to bookings, which PostgreSQL shares the cores with, and to reads, which it has no part in. */
export const twoProcesses: Comparison = {
  name: 'two-processes',
  what: `BookSlot and ListSlots, ${IN_FLIGHT} in flight, by an instance of two processes (PROCESSES=2)`,
  against: 'an instance of one',
  aim: 'none: shows what a second core brings',
  async run(stage) {
    const [warmUp, count, rounds] = stage.short ? [1_000, 1_000, 2] : [8_000, 6_000, 5];
    const bookings = await openBookings(stage, 2 * (warmUp + rounds * count));
    const serve = (processes: number) => stage.serve(bookings.database.url, { PROCESSES: `${processes}` });
    const [two, one] = [await serve(2), await serve(1)];

    stage.say(`warming up: ${warmUp} bookings and as many reads each`);
    for (const { grpcPort } of [two, one]) {
      await bookings.overGrpc([grpcPort], warmUp, IN_FLIGHT);
      await read(stage, bookings, grpcPort);
    }
    const book = (instance: Instance) => () =>
      workOf(stage, instance, () => bookings.overGrpc([instance.grpcPort], count, IN_FLIGHT));
    const list = (instance: Instance) => () => workOf(stage, instance, () => read(stage, bookings, instance.grpcPort));
    const [booksTwo = [], booksOne = []] = await alternate(rounds, [book(two), book(one)]);
    const [readsTwo = [], readsOne = []] = await alternate(rounds, [list(two), list(one)]);
    return {
      figures: [
        { what: 'bookings/s, two processes / one', value: ratioOf(booksTwo, booksOne) },
        { what: 'reads/s, two processes / one', value: ratioOf(readsTwo, readsOne) },
      ],
      sides: [
        sideOf('BookSlot, two processes', IN_FLIGHT, booksTwo),
        sideOf('BookSlot, one process', IN_FLIGHT, booksOne),
        sideOf('ListSlots, two processes', IN_FLIGHT, readsTwo),
        sideOf('ListSlots, one process', IN_FLIGHT, readsOne),
      ],
      notes: ['both have 20 connections in all; a core has 1,000 ms a second'],
    };
  },
};

function workOf(stage: Stage, { pid }: Instance, load: () => ReturnType<Bookings['overGrpc']>): Promise<Round> {
  return roundOf(load, { service: [pid], postgres: stage.postgres });
}

/** A page of the slots of each doctor in turn, from memory once it has been asked. */
function read(stage: Stage, { doctors }: Bookings, port: number): ReturnType<Bookings['overGrpc']> {
  const messages = Array.from({ length: doctors }, (_, n) => [0, { doctorId: idOf('doctor', n) }] as const);
  const calls = { method: AvailabilityService.method.listSlots, callers: [{}], messages };
  return stage.load.call([port], calls, { inFlight: IN_FLIGHT, seconds: stage.short ? 1 : 3 });
}
