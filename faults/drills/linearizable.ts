import type { Drill } from '../drill.ts';
import { crowdsHold } from '../model/crowds-hold.ts';
import { drillPremises } from '../model/drill-premises.ts';

const CROWDS = 200;
const LANES = 2;

export const linearizable: Drill = {
  name: 'linearizable',
  story: 'crowds of six on three slots, through two instances that are injured: one order explains every answer',
  breaks: [
    {
      file: 'src/booking/lock-booking.ts',
      from: `AND \${ownedBy(caller)} AND \${held} FOR UPDATE\``,
      to: `AND \${ownedBy(caller)} AND \${held}\``,
      means: 'a booking is read without a lock',
    },
    {
      file: 'src/booking/get-booking.ts',
      from: "  if (!found) throw new Fault('BOOKING_NOT_FOUND', 'no such booking');\n  return found;\n}",
      to: "  if (!found) throw new Fault('BOOKING_NOT_FOUND', 'no such booking');\n  seen.set(bookingId, seen.get(bookingId) ?? found);\n  return seen.get(bookingId) ?? found;\n}\nconst seen = new Map<string, NamedBooking>();",
      means: 'an instance answers what it has read before',
    },
    {
      file: 'src/booking/reschedule-booking.ts',
      from: '  if (!newSlot) throw await whyNotOpen(work.em, newSlotId, why);\n',
      to: '  if (!newSlot) return found;\n',
      means: 'a reschedule that loses is told that it moved',
    },
    {
      file: 'src/availability/withdraw-slot.ts',
      from: `AND \${held} FOR UPDATE\``,
      to: `AND \${held}\``,
      means: 'a slot is withdrawn without a lock',
    },
    {
      file: 'src/db/transaction.ts',
      from: "throw new Fault('OUTCOME_UNKNOWN',",
      to: "throw new Fault('DATABASE_DOWN',",
      means: 'a lost COMMIT is told as if nothing was changed',
    },
  ],
  async run(stage) {
    const lanes = await Promise.all(Array.from({ length: LANES }, () => drillPremises(stage)));
    try {
      const { calls, withoutAnswer } = await crowdsHold(lanes, {
        seed: stage.seed,
        count: CROWDS,
        kills: true,
        onPlayed: (played) => played % 50 === 0 && stage.say(`${played} crowds`),
      });
      return {
        acknowledged: calls - withoutAnswer,
        lost: 0,
        doubled: 0,
        notes: [`${withoutAnswer} calls without an answer`],
      };
    } finally {
      await Promise.all(lanes.map((lane) => lane.close()));
    }
  },
};
