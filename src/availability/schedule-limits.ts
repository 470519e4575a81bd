import { Fault } from '../fault.ts';
import { mostSlots, type Offers, slotsInWindow } from './offered-slots.ts';
import type { DayWindow, Plan } from './schedule.entity.ts';

/** What a doctor may have at the most: schedules, and slots that they keep ahead together. */
const LIMITS = { schedules: 10, slots: 20_000 };

/**
 * Throws SCHEDULE_LIMIT when a doctor would have too many schedules, or these too many slots ahead. All are counted as far as the one that looks
 * furthest, for so far older ones are asked what is theirs.
 */
export function checkLimits(schedules: readonly Plan[], exceptions: Offers['exceptions']): void {
  if (schedules.length > LIMITS.schedules) throw tooMany('schedules');
  const advanceDays = Math.max(0, ...schedules.map((plan) => plan.advanceDays));
  const weekly = schedules.reduce((sum, { windows }) => sum + mostSlots({ windows, advanceDays }), 0);
  const added = [...exceptions.values()].flat().reduce((sum, window: DayWindow) => sum + slotsInWindow(window), 0);
  if (weekly + added > LIMITS.slots) throw tooMany('slots');
}

function tooMany(of: keyof typeof LIMITS): Fault {
  const message = `a doctor's schedules are at most ${LIMITS.schedules} and keep at most ${LIMITS.slots} slots ahead`;
  return new Fault('SCHEDULE_LIMIT', message, { metadata: { limit: String(LIMITS[of]), of } });
}
