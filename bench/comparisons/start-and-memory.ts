import { type Bookings, openBookings } from '../bookings.ts';
import type { Comparison, Figure } from '../comparison.ts';
import { residentOf } from '../cpu.ts';
import type { Instance } from '../instance.ts';
import { median } from '../quantile.ts';
import type { Stage } from '../stage.ts';

const STARTS = 5;
const IN_FLIGHT = 32;
/** Readings of the memory in one run, the first before any booking. */
const PARTS = 20;
const MB = 2 ** 20;

/** How soon an instance serves, and what it holds after much work. */
export const startAndMemory: Comparison = {
  name: 'start-and-memory',
  what: 'from start to serving on a migrated database; resident memory after 100,000 bookings',
  against: 'what an instance may cost',
  aim: 'start <= 1,500 ms; memory <= 200 MB, last quarter <= 10 MB above the third',
  async run(stage) {
    const total = stage.short ? 10_000 : 100_000;
    const bookings = await openBookings(stage, total);
    const starts: number[] = [];
    for (let i = 0; i < STARTS; i++) {
      const instance = await stage.serve(bookings.database.url);
      starts.push(instance.startMs);
      await instance.stop();
    }
    const start = {
      what: `start to serving, median of ${STARTS}`,
      value: median(starts),
      unit: 'ms',
      aim: { atMost: 1500 },
    } as const;
    const service = await stage.serve(bookings.database.url);
    if (residentOf(service.pid) === undefined) return { figures: [start], notes: ['memory is only told on Linux'] };
    const readings = await readMemory(stage, bookings, { service, total });
    return {
      figures: [start, ...memoryFigures(readings, total, stage.short)],
      notes: stage.short
        ? [`short: ${total.toLocaleString('en')} bookings, in which the heap still finds its size`]
        : [],
    };
  },
};

function memoryFigures(readings: readonly number[], total: number, short: boolean): Figure[] {
  const unit = 'MB';
  const quarter = (nth: number) => median(readings.slice((nth * PARTS) / 4 + 1, ((nth + 1) * PARTS) / 4 + 1));
  const after = `resident after ${total.toLocaleString('en')} bookings`;
  const growth = { what: 'growth from the third quarter to the last', value: quarter(3) - quarter(2), unit } as const;
  return [
    { what: 'resident at the start', value: readings[0] as number, unit },
    { what: after, value: readings.at(-1) as number, unit, aim: { atMost: 200 } },
    short ? growth : { ...growth, aim: { atMost: 10 } },
  ];
}

/** Resident megabytes before, and after each part of the bookings. */
async function readMemory(
  stage: Stage,
  bookings: Bookings,
  { service, total }: { readonly service: Instance; readonly total: number },
): Promise<number[]> {
  const read = () => (residentOf(service.pid) ?? Number.NaN) / MB;
  const readings = [read()];
  for (let part = 1; part <= PARTS; part++) {
    await bookings.overGrpc([service.grpcPort], total / PARTS, IN_FLIGHT);
    readings.push(read());
    if (part % (PARTS / 4) === 0) stage.say(`${(part * total) / PARTS} bookings: ${Math.round(read())} MB`);
  }
  return readings;
}
