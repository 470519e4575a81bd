import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { BookingService } from '../../gen/amrutam/booking/v1/booking_pb.ts';
import { sql } from '../../src/db/sql.ts';
import { rows } from '../../src/db/statement.ts';
import { inTransaction } from '../../src/db/transaction.ts';
import { brokenInvariants, people } from '../../test/support/people.ts';
import { bookedRequests } from '../booked-requests.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import { distinctBookings } from '../distinct-bookings.ts';
import type { Drill } from '../drill.ts';
import { openLoad, quantile, type Sent } from '../open-load.ts';

/** Patients a second who want the slot; by the time it is free, 200 wait for it. */
const CROWD = 50;
const HELD_MS = 4_000;
const ROUNDS = 3;
const SECONDS = 6;
/** Bookings a second that have nothing to do with the slot: well within what an instance can serve. */
const OTHERS = 60;
/** How much slower the others may get than beside as many calls that don't crowd. */
const AIM = 1.5;
/** Beyond this it is the crowd and no noise of the machine. */
const TOO_SLOW = 4;

export const hotSlot: Drill = {
  name: 'hot-slot',
  story: `${CROWD} patients a second crowd on one slot that is held locked for ${HELD_MS / 1000} s, while others book other slots`,
  breaks: [
    {
      file: 'src/db/unit-of-work.ts',
      from: 'const LIMITS = { slot: 2,',
      to: 'const LIMITS = { slot: 4_000,',
      means: 'a crowd may take every connection',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    const service = await clinic.start();
    const [load, crowd] = [openLoad(service.grpcPort), openLoad(service.grpcPort)];
    try {
      const { plan, spareSlot } = await distinctBookings(clinic, { patients: 300, doctors: 5 });
      const wanting = await people(clinic, 'PATIENT', 300);
      await load.keepBusy({ count: 16, seconds: 2 }, plan);
      const [alone, spread, beside, crowded]: [Sent[], Sent[], Sent[], Sent[]] = [[], [], [], []];
      for (let round = 1; round <= ROUNDS; round++) {
        alone.push(...(await load.offer({ perSecond: OTHERS, seconds: SECONDS }, plan)));
        const spreading = crowd.offer({ perSecond: CROWD, seconds: HELD_MS / 1000 }, plan);
        spread.push(...(await load.offer({ perSecond: OTHERS, seconds: SECONDS }, plan)));
        spread.push(...(await spreading));
        const slotId = spareSlot();
        let turn = 0;
        const wanted = () => {
          const { headers = {} } = wanting[turn++ % wanting.length] ?? {};
          return { method: BookingService.method.bookSlot, message: { requestId: randomUUID(), slotId }, headers };
        };
        const held = holdSlot(clinic, slotId);
        const crowding = crowd.offer({ perSecond: CROWD, seconds: HELD_MS / 1000 }, wanted);
        beside.push(...(await load.offer({ perSecond: OTHERS, seconds: SECONDS }, plan)));
        await held;
        crowded.push(...(await crowding));
        stage.say(
          `round ${round}: p95 ${told(alone)} alone, ${told(spread)} beside as many calls for slots of their own, ${told(beside)} beside the crowd`,
        );
        await sleep(500);
      }
      const refused = [...alone, ...spread, ...beside].filter(({ reason }) => reason !== 'OK');
      if (refused.length > 0) throw new Error(`${refused.length} of the others were refused: ${refused[0]?.reason}`);
      const ratio = p95(beside) / p95(spread);
      if (ratio > TOO_SLOW) throw new Error(`the others' p95 grew ${ratio.toFixed(1)} times`);
      const broken = await brokenInvariants(clinic);
      if (Object.keys(broken).length) throw new Error(JSON.stringify(broken));
      return {
        ...(await bookedRequests(clinic, { atLeast: alone.length + spread.length + beside.length })),
        notes: [
          `others' p95 ${told(beside)} beside ${crowded.length} calls for one slot, ${told(spread)} beside as many for slots of their own: ${ratio.toFixed(2)} times (aim ${AIM}); ${told(alone)} alone`,
        ],
      };
    } finally {
      load.close();
      crowd.close();
      await clinic.close();
    }
  },
};

/** As a transaction somewhere else would that takes its time. */
function holdSlot({ orm }: Clinic, slotId: string): Promise<void> {
  return inTransaction(orm, AbortSignal.timeout(30_000), async (em) => {
    await rows(em, sql`SELECT 1 FROM slot WHERE id = ${slotId} FOR UPDATE`);
    for (const end = Date.now() + HELD_MS; Date.now() < end; await sleep(200)) await rows(em, sql`SELECT 1`);
  });
}

function told(sent: readonly Sent[]): string {
  return `${p95(sent).toFixed(0)} ms`;
}

function p95(sent: readonly Sent[]): number {
  return quantile(
    sent.map(({ ms }) => ms),
    0.95,
  );
}
