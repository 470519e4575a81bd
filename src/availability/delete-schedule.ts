import type { Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { callingDoctor, ownSchedule } from './own-agenda.ts';
import { type SlotChanges, settleSlots } from './settle-slots.ts';

/** Ends a schedule of the doctor and takes its open slots back. Throws SCHEDULE_NOT_FOUND. */
export async function deleteSchedule(work: Work, scheduleId: string, doctorId: string): Promise<SlotChanges> {
  work.about({ entityType: 'schedule', entityId: scheduleId });
  const {
    doctors: [doctor],
    schedules: [schedule],
    now,
  } = await work.lock({ doctors: callingDoctor(doctorId), schedules: ownSchedule(scheduleId, doctorId) });
  if (!schedule) throw new Fault('SCHEDULE_NOT_FOUND', 'no such schedule');
  schedule.delete(now);
  return settleSlots(work, { doctorId, active: doctor?.state === 'ACTIVE', now });
}
