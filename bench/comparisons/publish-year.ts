import { randomUUID } from 'node:crypto';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { doctorHeaders, fill, idOf } from '../clinic.ts';
import type { Comparison, Figure } from '../comparison.ts';
import { median, quantile } from '../quantile.ts';

const CALLS = 20;
const SLOTS_A_CALL = 500;
const SLOTS_A_DAY = 28;
const SLOT_MS = 15 * 60_000;
const DAY_MS = 24 * 3_600_000;

/** A doctor sits down once and publishes a whole year. */
export const publishYear: Comparison = {
  name: 'publish-year',
  what: `a doctor publishes ${(CALLS * SLOTS_A_CALL).toLocaleString('en')} slots, ${SLOTS_A_CALL} a call, one call after the other`,
  against: 'a time that nobody minds',
  aim: 'a year <= 10 s, a call <= 1 s',
  async run(stage) {
    const years = stage.short ? 2 : 6;
    const database = await stage.database();
    await fill(database, { doctors: years, slotsEach: 960 });
    const service = await stage.serve(database.url);
    const times: { yearMs: number; latencies: Float64Array }[] = [];
    for (let doctor = 0; doctor < years; doctor++) {
      const calls = {
        method: AvailabilityService.method.publishSlots,
        callers: [await doctorHeaders(stage, doctor)],
        messages: year(),
      };
      const { latencies, elapsedMs } = await stage.load.call([service.grpcPort], calls, { inFlight: 1 });
      const [there] = await database.query<{ count: number }>(
        'SELECT count(*)::integer AS count FROM slot WHERE doctor_id = $1',
        [idOf('doctor', doctor)],
      );
      if (latencies.length !== CALLS || there?.count !== 960 + CALLS * SLOTS_A_CALL)
        throw new Error(`${latencies.length} calls were answered, ${there?.count} slots are there`);
      times.push({ yearMs: elapsedMs, latencies });
    }
    return {
      figures: figuresOf(times.slice(1)),
      notes: [`medians of ${years - 1} doctors, after one to warm up; each already has 960 slots`],
    };
  },
};

function figuresOf(times: readonly { readonly yearMs: number; readonly latencies: Float64Array }[]): Figure[] {
  const calls = times.flatMap(({ latencies }) => [...latencies]);
  return [
    { what: 'a year', value: median(times.map(({ yearMs }) => yearMs / 1000)), unit: 's', aim: { atMost: 10 } },
    { what: `a call of ${SLOTS_A_CALL}, median`, value: median(calls), unit: 'ms', aim: { atMost: 1000 } },
    { what: `a call of ${SLOTS_A_CALL}, slowest`, value: quantile(calls, 1), unit: 'ms' },
  ];
}

/** The requests of a year from tomorrow 16:00 UTC on, when the clinic's own slots of the day are over. */
function year() {
  const from = Math.floor(Date.now() / DAY_MS + 1) * DAY_MS + 16 * 3_600_000;
  const slots = Array.from({ length: CALLS * SLOTS_A_CALL }, (_, n) => {
    const startMs = from + Math.floor(n / SLOTS_A_DAY) * DAY_MS + (n % SLOTS_A_DAY) * SLOT_MS;
    return { startTime: timestampFromMs(startMs), endTime: timestampFromMs(startMs + SLOT_MS) };
  });
  return Array.from({ length: CALLS }, (_, i) => {
    const request = { requestId: randomUUID(), slots: slots.slice(i * SLOTS_A_CALL, (i + 1) * SLOTS_A_CALL) };
    return [0, request] as const;
  });
}
