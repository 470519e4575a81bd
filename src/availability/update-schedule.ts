import type { Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { completeParts, type PlanParts } from './complete-plan.ts';
import type { ChangedSchedule } from './create-schedule.ts';
import { loadOffers } from './load-offers.ts';
import { callingDoctor, ownSchedule } from './own-agenda.ts';
import { checkLimits } from './schedule-limits.ts';
import { settleSlots } from './settle-slots.ts';

/** What UpdateSchedule asks for. */
export interface UpdateSchedule {
  readonly scheduleId: string;
  readonly doctorId: string;
  /** Absent parts stay. */
  readonly parts: PlanParts;
}

/**
 * Changes a schedule of the doctor, takes open slots back that fit no more, and makes those that are new. Throws
 * SCHEDULE_NOT_FOUND, SCHEDULE_LIMIT, FIELD_INVALID.
 */
export async function updateSchedule(
  work: Work,
  { scheduleId, doctorId, parts }: UpdateSchedule,
): Promise<ChangedSchedule> {
  work.about({ entityType: 'schedule', entityId: scheduleId });
  const {
    doctors: [doctor],
    schedules: [schedule],
    now,
  } = await work.lock({ doctors: callingDoctor(doctorId), schedules: ownSchedule(scheduleId, doctorId) });
  if (!schedule) throw new Fault('SCHEDULE_NOT_FOUND', 'no such schedule');
  schedule.change(await completeParts(work.em, parts, { doctorId, now, zone: schedule.timeZone }), now);
  const { schedules, exceptions } = await loadOffers(work.em, doctorId);
  const { windows, advanceDays } = schedule;
  checkLimits(
    schedules.map((other) => (other.id === scheduleId ? { ...other, windows, advanceDays } : other)),
    exceptions,
  );
  return { schedule, changes: await settleSlots(work, { doctorId, active: doctor?.state === 'ACTIVE', now }) };
}
