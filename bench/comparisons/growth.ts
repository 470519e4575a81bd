import { alternate } from '../alternate.ts';
import { patientHeaders } from '../clinic.ts';
import type { Comparison, Figure } from '../comparison.ts';
import { CALLERS, type Grown, grow, IN_FLIGHT, type Visit, visit } from '../grown.ts';
import { median } from '../quantile.ts';
import { type Side, sideOf } from '../side.ts';

const LARGEST = 1e7;
const AIM = { atMost: 1.3 };

/** Whether calls become slower when there is more of everything but slots of one doctor on one day. */
export const growth: Comparison = {
  name: 'growth',
  what: `BookSlot and ListSlots (one day), ${IN_FLIGHT} in flight, with 10^7 slots (--short: 10^5)`,
  against: 'the same with 10^4 slots',
  aim: 'latency ratio <= 1.3',
  async run(stage) {
    const sizes = stage.short ? [1e4, 1e5] : [1e4, 1e6, LARGEST];
    const [warmUps, rounds] = stage.short ? [0, 1] : [8, 5];
    const grown: Grown[] = [];
    for (const slots of sizes) grown.push(await grow(stage, slots));
    const callers = await patientHeaders(stage, CALLERS);
    const visits = (first: number) =>
      grown.map((one) => (round: number) => visit(stage, one, { callers, round: first + round }));
    stage.say('warming up');
    await alternate(warmUps, visits(0));
    const seen = await alternate(rounds, visits(warmUps));
    return {
      figures: figuresOf(sizes, seen),
      sides: seen.flatMap((of, i) => sidesOf(sizes[i] as number, of)),
      notes: [
        'each doctor has 1,000 slots everywhere; bookings of a round are undone before the next; no listing comes from memory',
      ],
    };
  },
};

function figuresOf(sizes: readonly number[], seen: readonly (readonly Visit[])[]): Figure[] {
  const [smallest = []] = seen;
  return seen.slice(1).flatMap((grown, i) => {
    const size = sizes[i + 1] as number;
    const figure = (what: string, pick: (visit: Visit) => number): Figure => ({
      what: `${what} at ${power(size)} / 10^4`,
      value: median(grown.map((visit, round) => pick(visit) / pick(smallest[round] as Visit))),
      ...(size === LARGEST && { aim: AIM }),
    });
    return [
      figure('BookSlot, median', ({ booked }) => booked.p50),
      figure('BookSlot, p95', ({ booked }) => booked.p95),
      figure('ListSlots, median', ({ listed }) => listed.p50),
      figure('ListSlots, p95', ({ listed }) => listed.p95),
    ];
  });
}

function sidesOf(slots: number, visits: readonly Visit[]): Side[] {
  const of = (what: string, pick: (visit: Visit) => Visit['booked']) =>
    sideOf(`${what}, ${power(slots)} slots`, IN_FLIGHT, visits.map(pick));
  return [of('BookSlot', ({ booked }) => booked), of('ListSlots', ({ listed }) => listed)];
}

function power(slots: number): string {
  return `10^${Math.round(Math.log10(slots))}`;
}
