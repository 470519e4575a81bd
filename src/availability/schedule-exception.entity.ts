import { randomUUIDv7 as uuid } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';
import { fieldInvalid } from '../fault.ts';
import { checkWindows, type DayWindow } from './schedule.entity.ts';

export const ScheduleExceptionSchema = defineEntity({
  name: 'ScheduleException',
  tableName: 'schedule_exception',
  properties: {
    id: p.uuid().primary(),
    doctorId: p.uuid(),
    /** ISO 8601, as `2026-12-24`. */
    date: p.text(),
    /** Empty: the date is closed. */
    windows: p.json().$type<readonly DayWindow[]>(),
    createdAt: p.datetime(),
  },
});

const DAY_MS = 86_400_000;
/** So that yesterday, somewhere, is today somewhere else. */
const DAYS = { back: 1, ahead: 400 };

/** A date on which a doctor's weekly windows don't count. */
export class ScheduleException extends ScheduleExceptionSchema.class {
  /** A new one. Throws FIELD_INVALID for windows that can't be, and a date that is over or too far ahead. */
  static add(
    doctorId: string,
    { date, windows }: { readonly date: string; readonly windows: readonly DayWindow[] },
    now: Date,
  ): ScheduleException {
    checkWindows('windows', windows);
    const day = (days: number) => new Date(now.getTime() + days * DAY_MS).toISOString().slice(0, 10);
    if (date < day(-DAYS.back) || date > day(DAYS.ahead))
      throw fieldInvalid('date', 'must be from yesterday to 400 days ahead', 'exception.date');
    return Object.assign(new ScheduleException(), { id: uuid(), doctorId, date, windows, createdAt: now });
  }
}
ScheduleExceptionSchema.setClass(ScheduleException);
