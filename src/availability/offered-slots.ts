import { Temporal } from 'temporal-polyfill';
import { dateAt, firstMomentAt, firstMomentsOf } from './local-time.ts';
import type { DayWindow, Plan } from './schedule.entity.ts';

/** A schedule, as far as it says which slots there are to be. */
export interface Offer extends Plan {
  readonly id: string;
  readonly createdAt: Date;
}

/** What a doctor offers: schedules, the oldest first, and the windows of dates on which those of the week don't count. */
export interface Offers {
  readonly schedules: readonly Offer[];
  readonly exceptions: ReadonlyMap<string, readonly DayWindow[]>;
}

/** A slot that there is to be: milliseconds since 1970, `[start, end)`, and the schedule that asks for it. */
export interface OfferedSlot {
  readonly start: number;
  readonly end: number;
  readonly offer: Offer;
}

/** Starts of slots, `[from, until)`. */
export interface Span {
  readonly from: Date;
  readonly until: Date;
}

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;

/**
 * The slots that all schedules together ask for and that start in the `span` of each, in order, none over another: the oldest schedule comes
 * first. Its times are its own as far as younger ones look, also where it doesn't ask for them yet: they would lose them when it does.
 */
export function offeredSlots({ schedules, exceptions }: Offers, span: (offer: Offer) => Span): OfferedSlot[] {
  const spans = schedules.map(span);
  let taken: OfferedSlot[] = [];
  for (const [i, offer] of schedules.entries()) {
    const { from } = spans[i] as Span;
    const until = new Date(Math.max(...spans.slice(i).map((one) => one.until.getTime())));
    const asked = [...slotsOf({ offer, before: schedules.slice(0, i), exceptions }, { from, until })];
    taken = inOrder(taken.concat(withoutThoseOver(taken, asked)));
  }
  const ends = new Map(schedules.map((offer, i) => [offer, (spans[i] as Span).until.getTime()]));
  return taken.filter(({ start, offer }) => start < (ends.get(offer) as number));
}

/** One schedule, and what decides about it: older ones of the doctor, and exceptions. */
export interface Asking {
  readonly offer: Offer;
  readonly before: readonly Offer[];
  readonly exceptions: Offers['exceptions'];
}

/**
 * The slots that one schedule asks for and that start in `span`, in order. A window opens and closes by the clock on the wall; in
 * between each slot takes its whole time, also where clocks change.
 */
export function* slotsOf({ offer, before, exceptions }: Asking, { from, until }: Span): Generator<OfferedSlot> {
  // A day to spare on both sides, for days that clocks leave out.
  let date = laterOf(dateAt(offer.timeZone, new Date(from.getTime() - DAY_MS)), offer.fromDate);
  const last = dateAt(offer.timeZone, new Date(until.getTime() + DAY_MS)).toString();
  const byDay = Map.groupBy([...offer.windows], ({ weekday }) => weekday);
  for (; isBefore(date, last) && (!offer.untilDate || isBefore(date, offer.untilDate)); date = date.add({ days: 1 })) {
    const other = exceptions.get(date.toString());
    if (other && before.some((older) => has(older, date.toString()))) continue;
    const windows = opening(other ?? byDay.get(date.dayOfWeek) ?? []);
    if (!windows.length) continue;
    const at = firstMomentsOf(offer.timeZone, date);
    for (const window of windows) {
      for (const slot of slotsIn(window, at, offer)) {
        if (slot.start >= from.getTime() && slot.start < until.getTime()) yield slot;
      }
    }
  }
}

function* slotsIn(window: DayWindow, at: (minutes: number) => number, offer: Offer): Generator<OfferedSlot> {
  const closes = at(window.end);
  const length = window.slotMinutes * MINUTE_MS;
  let start = at(window.start);
  for (; start + length <= closes; start += length + window.breakMinutes * MINUTE_MS)
    yield { start, end: start + length, offer };
}

/** The span for which a schedule keeps slots ahead: from `now` on, for as many of its zone's days as it says. */
export function horizon({ timeZone, advanceDays }: Plan, now: Date): Span {
  const end = dateAt(timeZone, now).add({ days: advanceDays });
  return { from: new Date(now.getTime() + 1), until: new Date(firstMomentAt(timeZone, end, 0)) };
}

/** When the next day comes for one of the schedules; null when all have ended. */
export function nextDay(schedules: readonly Plan[], now: Date): Date | null {
  const midnights = schedules.flatMap(({ timeZone, untilDate }) => {
    const today = dateAt(timeZone, now);
    if (untilDate !== null && !isBefore(today, untilDate)) return [];
    return [firstMomentAt(timeZone, today.add({ days: 1 }), 0)];
  });
  return midnights.length ? new Date(Math.min(...midnights)) : null;
}

/** How many slots a schedule keeps ahead at the most, in weeks without a change of clocks. */
export function mostSlots({ windows, advanceDays }: Pick<Plan, 'windows' | 'advanceDays'>): number {
  const weekly = windows.reduce((sum, window) => sum + slotsInWindow(window), 0);
  return Math.ceil((weekly * advanceDays) / 7);
}

/** How many slots a window holds. */
export function slotsInWindow({ start, end, slotMinutes, breakMinutes }: DayWindow): number {
  return Math.floor((end - start + breakMinutes) / (slotMinutes + breakMinutes));
}

function has({ fromDate, untilDate }: Plan, date: string): boolean {
  return fromDate <= date && (untilDate === null || date < untilDate);
}

function opening(windows: readonly DayWindow[]): DayWindow[] {
  return windows.toSorted((a, b) => a.start - b.start);
}

function inOrder(slots: OfferedSlot[]): OfferedSlot[] {
  return slots.sort((a, b) => a.start - b.start);
}

/** Those of `asked` that lie over none of `taken`; both are in order. */
export function withoutThoseOver(taken: readonly OfferedSlot[], asked: readonly OfferedSlot[]): OfferedSlot[] {
  let i = 0;
  return asked.filter(({ start, end }) => {
    while (i < taken.length && (taken[i] as OfferedSlot).end <= start) i++;
    const next = taken[i];
    return !next || next.start >= end;
  });
}

function isBefore(date: Temporal.PlainDate, other: string): boolean {
  return Temporal.PlainDate.compare(date, other) < 0;
}

function laterOf(date: Temporal.PlainDate, other: string): Temporal.PlainDate {
  return isBefore(date, other) ? Temporal.PlainDate.from(other) : date;
}
