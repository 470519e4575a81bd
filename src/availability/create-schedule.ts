import type { Work } from '../db/work.ts';
import { completeParts } from './complete-plan.ts';
import { loadOffers } from './load-offers.ts';
import { callingDoctor } from './own-agenda.ts';
import { type Plan, Schedule } from './schedule.entity.ts';
import { checkLimits } from './schedule-limits.ts';
import { type SlotChanges, settleSlots } from './settle-slots.ts';

/** A schedule, and what its change has done to slots. */
export interface ChangedSchedule {
  readonly schedule: Schedule;
  readonly changes: SlotChanges;
}

/** Makes a schedule of the calling doctor and, of an active one, its next slots. Throws SCHEDULE_LIMIT, FIELD_INVALID. */
export async function createSchedule(work: Work, doctorId: string, asked: Plan): Promise<ChangedSchedule> {
  work.about({ entityType: 'doctor', entityId: doctorId });
  const {
    doctors: [doctor],
    now,
  } = await work.lock({ doctors: callingDoctor(doctorId) });
  const plan = { ...asked, ...(await completeParts(work.em, asked, { doctorId, now })) };
  const schedule = Schedule.create(doctorId, plan, now);
  const { schedules, exceptions } = await loadOffers(work.em, doctorId);
  checkLimits([...schedules, plan], exceptions);
  work.em.persist(schedule);
  work.about({ entityType: 'schedule', entityId: schedule.id });
  return { schedule, changes: await settleSlots(work, { doctorId, active: doctor?.state === 'ACTIVE', now }) };
}
