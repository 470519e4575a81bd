import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { againstConstant } from '../against-constant.ts';
import { fill, idOf, patientHeaders } from '../clinic.ts';
import type { Comparison } from '../comparison.ts';

const DAYS = 60;
const DAY_MS = 24 * 3_600_000;
const PATIENTS = 100;

/** What a page of slots costs more than an answer that is always the same. */
export const listSlots: Comparison = {
  name: 'list-slots',
  what: `ListSlots, 32 in flight, warm, 1,000 doctors x ${DAYS} days of 16 slots`,
  against: 'a bare grpc-js method that answers the same bytes',
  aim: 'ratio >= 0.6',
  async run(stage) {
    const [doctors, requests] = stage.short ? [100, 300] : [1_000, 1_000];
    const database = await stage.database();
    await fill(database, { doctors, slotsEach: DAYS * 16, patients: PATIENTS });
    const service = await stage.serve(database.url);
    const [first] = await database.query<{ day: Date }>(`SELECT date_trunc('day', min(start_at)) AS day FROM slot`);
    const dayAt = (n: number) => timestampFromMs(+(first?.day ?? 0) + n * DAY_MS);

    const numbers = Array.from({ length: requests }, (_, n) => n);
    const doctorId = (n: number) => idOf('doctor', n % doctors);
    const day = (n: number) => ({
      doctorId: doctorId(n),
      from: dayAt((n * 7) % DAYS),
      until: dayAt(((n * 7) % DAYS) + 1),
    });
    const page = (n: number) => ({ doctorId: doctorId(n) });
    const patients = await patientHeaders(stage, PATIENTS);
    const calls = (callers: readonly Record<string, string>[], request: typeof day | typeof page) => {
      const messages = numbers.map((n) => [n % callers.length, request(n)] as const);
      return { method: AvailabilityService.method.listSlots, callers, messages };
    };
    const report = await againstConstant(stage, service, [
      { name: 'one day, anonymous', calls: calls([{}], day) },
      { name: 'one day, with a token', calls: calls(patients, day) },
      { name: 'page of 50, with a token', calls: calls(patients, page) },
    ]);
    return stage.short ? { ...report, notes: [...(report.notes ?? []), 'short: 100 doctors'] } : report;
  },
};
