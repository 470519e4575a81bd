import { LRUCache } from 'lru-cache';
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

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;
/** Midnights by zone and date: more than the days ahead of twenty zones. */
const midnights = new LRUCache<string, number>({ max: 10_000 });

/**
 * The same for many times of one date. On a day of 24 hours clocks don't change - nowhere since 1972 have they done so twice within six days - so that
 * one needs its two midnights only. They are remembered: to ask for one takes 20 microseconds, and all doctors of a zone have the same.
 */
export function firstMomentsOf(timeZone: string, date: Temporal.PlainDate): (minutes: number) => number {
  const [midnight, next] = [midnightOf(timeZone, date), midnightOf(timeZone, date.add({ days: 1 }))];
  if (next - midnight === DAY_MS) return (minutes) => midnight + minutes * MINUTE_MS;
  return (minutes) => firstMomentAt(timeZone, date, minutes);
}

function midnightOf(timeZone: string, date: Temporal.PlainDate): number {
  const key = `${timeZone} ${date}`;
  const known = midnights.get(key);
  if (known !== undefined) return known;
  const midnight = firstMomentAt(timeZone, date, 0);
  midnights.set(key, midnight);
  return midnight;
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
