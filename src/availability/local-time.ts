import { Temporal } from 'temporal-polyfill';

/**
 * Milliseconds since 1970 of the first moment at which clocks in `timeZone` show `minutes` after midnight of `date`, or later: the
 * moment at which they jump over a time that they leave out, the first of two at which they show the same. So what is earlier on the
 * clock is never later in truth, and a day that clocks leave out whole takes no time.
 */
export function firstMomentAt(timeZone: string, date: Temporal.PlainDate, minutes: number): number {
  const wanted = date.toPlainDateTime().add({ minutes });
  const moment = wanted.toZonedDateTime(timeZone, { disambiguation: 'earlier' });
  if (moment.toPlainDateTime().equals(wanted)) return moment.epochMilliseconds;
  const jump = moment.getTimeZoneTransition('next');
  if (!jump) throw new Error(`clocks in ${timeZone} jump over ${wanted}, but when?`);
  return jump.epochMilliseconds;
}

/** The date that clocks in `timeZone` show at `time`. */
export function dateAt(timeZone: string, time: Date): Temporal.PlainDate {
  return Temporal.Instant.fromEpochMilliseconds(time.getTime()).toZonedDateTimeISO(timeZone).toPlainDate();
}

/** Whether `date`, as `2026-12-24`, is on the calendar. */
export function isOnTheCalendar(date: string): boolean {
  try {
    return Temporal.PlainDate.from(date).toString() === date;
  } catch {
    return false;
  }
}
