import type { Break, Drill } from '../drill.ts';
import { drillPremises } from '../model/drill-premises.ts';
import { sequencesHold } from '../model/sequences-hold.ts';

const SEQUENCES = 1_000;
const LANES = 2;

/** Each must be met, or what was played shows little. */
const MET = [
  ...['OK', 'SLOT_NOT_FOUND', 'SLOT_TAKEN', 'SLOT_IN_PAST', 'PATIENT_BUSY', 'BOOKING_NOT_FOUND', 'BOOKING_STATE'],
  ...['TOO_EARLY', 'TOO_LATE', 'SLOT_OVERLAP', 'SLOT_NOT_OPEN', 'REQUEST_ID_REUSED', 'OUTCOME_UNKNOWN'],
];

const BREAKS: readonly Break[] = [
  {
    file: 'src/booking/cancel-booking.ts',
    from: "if (by === 'PATIENT') slot.release(now);\n  else slot.withdraw(now);",
    to: "if (by !== 'PATIENT') slot.withdraw(now);",
    means: "a patient's cancel does not free the slot",
  },
  {
    file: 'src/booking/cancel-booking.ts',
    from: "if (by === 'PATIENT') slot.release(now);",
    to: "if (by !== 'DOCTOR') slot.release(now);",
    means: "an administrator's cancel opens the slot again",
  },
  {
    file: 'src/booking/reschedule-booking.ts',
    from: '  oldSlot.release(now);\n',
    to: '',
    means: 'a reschedule keeps the old slot, too',
  },
  {
    file: 'src/booking/reschedule-booking.ts',
    from: "(state = 'OPEN' AND doctor_id = (SELECT user_id FROM doctors))",
    to: "state = 'OPEN'",
    means: "a reschedule takes another doctor's slot",
  },
  {
    file: 'src/booking/ownership.ts',
    from: `return sql\`patient_id = \${userId}\`;`,
    to: 'return sql`patient_id IS NOT NULL`;',
    means: "patients change somebody else's booking",
  },
  {
    file: 'src/booking/booking.entity.ts',
    from: 'const EARLY_MS = 15 * 60_000;',
    to: 'const EARLY_MS = 25 * 60_000;',
    means: 'check-in and start are possible 25 minutes before',
  },
  {
    file: 'src/availability/withdraw-slot.ts',
    from: "if (slot.state !== 'OPEN') throw slot.notOpen();",
    to: '',
    means: 'a doctor withdraws a slot that is booked',
  },
  {
    file: 'src/db/attempt-once.ts',
    from: 'if (!found.fingerprint.equals(claimOf(attempt).fingerprint)) {',
    to: 'if (found.fingerprint.length === 0) {',
    means: 'a repetition with another content gets the first answer',
  },
  {
    file: 'src/db/attempt-once.ts',
    from: `sql\`UPDATE idempotency SET code = \${kept.code}, answer = \${Buffer.from(kept.bytes)}\n          WHERE`,
    to: 'sql`DELETE FROM idempotency\n          WHERE',
    means: 'the answer is not kept together with the effects',
  },
  {
    file: 'src/db/attempt-once.ts',
    from: 'if (found.stale) return forget(em, call, request.requestId);',
    to: '',
    means: 'a request_id is never new again',
  },
  {
    file: 'src/server.ts',
    from: 'return code === Code.FailedPrecondition || code === Code.NotFound ? code : undefined;',
    to: 'return code === Code.FailedPrecondition ? code : undefined;',
    means: 'a slot or booking that was not found is no answer to be kept',
  },
  {
    file: 'src/db/transaction.ts',
    from: "throw new Fault('OUTCOME_UNKNOWN',",
    to: "throw new Fault('DATABASE_DOWN',",
    means: 'a lost COMMIT is told as if nothing was changed',
  },
];

export const model: Drill = {
  name: 'model',
  story: 'a thousand random sequences - instances killed, commits cut, clocks moved - answer as the specification does',
  breaks: BREAKS,
  async run(stage) {
    const lanes = await Promise.all(Array.from({ length: LANES }, () => drillPremises(stage)));
    try {
      const met = await sequencesHold(lanes, {
        seed: stage.seed,
        count: SEQUENCES,
        kills: true,
        onPlayed: (played) => played % 100 === 0 && stage.say(`${played} sequences`),
      });
      const missing = MET.filter((reason) => !met[reason]);
      if (missing.length) throw new Error(`never met: ${missing.join(', ')}`);
      return { acknowledged: met.OK ?? 0, lost: 0, doubled: 0, notes: [JSON.stringify(met)] };
    } finally {
      await Promise.all(lanes.map((lane) => lane.close()));
    }
  },
};
