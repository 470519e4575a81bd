import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  type DayWindow as DayWindowMessage,
  DayWindowSchema,
  type ScheduleException as ExceptionMessage,
  PreviewOutcome,
  type PreviewSlot as PreviewSlotMessage,
  PreviewSlotSchema,
  ScheduleExceptionSchema,
  type Schedule as ScheduleMessage,
  type SchedulePlan,
  ScheduleSchema,
  type Weekday,
  WeeklyWindowSchema,
} from '../../gen/amrutam/availability/v1/availability_pb.ts';
import { checkTimeZone } from '../auth/time-zone.ts';
import { fieldInvalid } from '../fault.ts';
import { isOnTheCalendar } from './local-time.ts';
import type { PreviewSlot } from './preview-schedule.ts';
import type { DayWindow, Plan, Schedule } from './schedule.entity.ts';
import type { ScheduleException } from './schedule-exception.entity.ts';

/** A schedule as its doctor sees it. */
export function scheduleMessage(schedule: Schedule): ScheduleMessage {
  const { id, doctorId, createdAt, updatedAt, timeZone, fromDate, untilDate, advanceDays, windows } = schedule;
  return create(ScheduleSchema, {
    id,
    doctorId,
    plan: {
      timeZone,
      fromDate,
      untilDate: untilDate ?? '',
      advanceDays,
      windows: windows.map(({ weekday, ...window }) =>
        create(WeeklyWindowSchema, { weekday: weekday as Weekday, ...windowFields(window) }),
      ),
    },
    createTime: timestampFromDate(createdAt),
    updateTime: timestampFromDate(updatedAt),
  });
}

/** An exception as its doctor sees it. */
export function exceptionMessage({ id, doctorId, date, windows, createdAt }: ScheduleException): ExceptionMessage {
  return create(ScheduleExceptionSchema, {
    id,
    doctorId,
    date,
    windows: windows.map((window) => create(DayWindowSchema, windowFields(window))),
    createTime: timestampFromDate(createdAt),
  });
}

/** A time of a preview. */
export function previewMessage({ startAt, endAt, outcome, slotId = '' }: PreviewSlot): PreviewSlotMessage {
  return create(PreviewSlotSchema, {
    startTime: timestampFromDate(startAt),
    endTime: timestampFromDate(endAt),
    outcome: PreviewOutcome[outcome],
    slotId,
  });
}

/** What a plan says; empty texts and 0 days stay, and stand for what is usual. Throws FIELD_INVALID. */
export function planOf({ timeZone, fromDate, untilDate, windows, advanceDays }: SchedulePlan): Plan {
  return {
    timeZone: timeZone && checkTimeZone('plan.time_zone', timeZone),
    fromDate: checkDate('plan.from_date', fromDate),
    untilDate: checkDate('plan.until_date', untilDate) || null,
    windows: windows.map(({ weekday, ...window }) => ({ weekday, ...windowOf(window) })),
    advanceDays,
  };
}

/** A window of a date. */
export function windowOf({
  localStart,
  localEnd,
  slotMinutes,
  breakMinutes,
}: Omit<DayWindowMessage, '$typeName' | '$unknown'>): DayWindow {
  return { start: minutesOf(localStart), end: minutesOf(localEnd), slotMinutes, breakMinutes };
}

/** The date, which may be empty; throws FIELD_INVALID when the calendar doesn't have it. */
export function checkDate(field: string, date: string): string {
  if (date && !isOnTheCalendar(date)) throw fieldInvalid(field, 'is not on the calendar', 'date');
  return date;
}

function windowFields({ start, end, slotMinutes, breakMinutes }: DayWindow) {
  return { localStart: clockOf(start), localEnd: clockOf(end), slotMinutes, breakMinutes };
}

function minutesOf(clock: string): number {
  const [hours = 0, minutes = 0] = clock.split(':').map(Number);
  return hours * 60 + minutes;
}

function clockOf(minutes: number): string {
  const two = (number: number) => String(number).padStart(2, '0');
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}
