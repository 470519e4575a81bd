import { AvailabilityService } from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { againstConstant } from '../against-constant.ts';
import { fill } from '../clinic.ts';
import type { Comparison } from '../comparison.ts';

const DAYS = 60;
/** By name, misspelt name, specialty, both, and nothing at all. */
const SEARCHES = [
  { query: 'ananya' },
  { query: 'anaya sharma' },
  { specialty: 'dermatology' },
  { query: 'meera', specialty: 'ayurveda' },
  {},
].map((search) => ({ ...search, pageSize: 20 }));

/** What finding doctors costs more than an answer that is always the same. */
export const searchDoctors: Comparison = {
  name: 'search-doctors',
  what: `SearchDoctors, 32 in flight, warm, 1,000 doctors x ${DAYS} days of 16 slots, five searches, pages of 20`,
  against: 'a bare grpc-js method that answers the same bytes',
  aim: 'ratio >= 0.6',
  async run(stage) {
    const doctors = stage.short ? 100 : 1_000;
    const database = await stage.database();
    await fill(database, { doctors, slotsEach: DAYS * 16, patients: 1 });
    const service = await stage.serve(database.url);
    const messages = SEARCHES.map((search) => [0, search] as const);
    const calls = { method: AvailabilityService.method.searchDoctors, callers: [{}], messages };
    const report = await againstConstant(stage, service, [{ name: 'five searches, anonymous', calls }]);
    return stage.short ? { ...report, notes: [...(report.notes ?? []), 'short: 100 doctors'] } : report;
  },
};
