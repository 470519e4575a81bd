import { randomUUIDv7 as uuid } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';
import { fieldInvalid } from '../fault.ts';

/** The minute at which a day ends. */
const MIDNIGHT = 1440;

/** Whether a schedule makes slots. */
export type ScheduleState = 'ACTIVE' | 'DELETED';

/** Hours of one day, in minutes since its midnight on the clock of a zone; `end` at most 1440. */
export interface DayWindow {
  readonly start: number;
  readonly end: number;
  readonly slotMinutes: number;
  readonly breakMinutes: number;
}

/** Hours of one day of the week: 1 is Monday, 7 Sunday. */
export interface WeeklyWindow extends DayWindow {
  readonly weekday: number;
}

/** What a doctor offers every week. Dates are ISO 8601 texts, as `2026-12-24`, on the calendar of `timeZone`, an IANA name. */
export interface Plan {
  readonly timeZone: string;
  readonly fromDate: string;
  /** The first date that isn't its own any more; null: it doesn't end. */
  readonly untilDate: string | null;
  readonly windows: readonly WeeklyWindow[];
  /** For how many days slots are kept ahead, today among them. */
  readonly advanceDays: number;
}

export const ScheduleSchema = defineEntity({
  name: 'Schedule',
  tableName: 'schedule',
  properties: {
    id: p.uuid().primary(),
    doctorId: p.uuid(),
    timeZone: p.text(),
    fromDate: p.text(),
    untilDate: p.text().nullable(),
    windows: p.json().$type<readonly WeeklyWindow[]>(),
    advanceDays: p.integer(),
    state: p.text().$type<ScheduleState>(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

/** What a doctor offers every week, as it is kept. */
export class Schedule extends ScheduleSchema.class {
  /** A new one. Throws FIELD_INVALID for windows or dates that can't be. */
  static create(doctorId: string, plan: Plan, now: Date): Schedule {
    checkPlan(plan);
    return Object.assign(new Schedule(), {
      id: uuid(),
      doctorId,
      ...plan,
      state: 'ACTIVE',
      createdAt: now,
      updatedAt: now,
    });
  }

  /** Sets the given parts; the others stay. Throws FIELD_INVALID for windows or dates that can't be. */
  change(parts: Partial<Plan>, now: Date): void {
    const { timeZone, fromDate, untilDate, windows, advanceDays } = this;
    const plan = { timeZone, fromDate, untilDate: untilDate ?? null, windows, advanceDays, ...parts };
    checkPlan(plan);
    Object.assign(this, plan, { updatedAt: now });
  }

  delete(now: Date): void {
    this.state = 'DELETED';
    this.updatedAt = now;
  }
}
ScheduleSchema.setClass(Schedule);

/** Throws FIELD_INVALID, whose field is `plan.…`, for windows or dates that can't be. */
export function checkPlan({ fromDate, untilDate, windows }: Plan): void {
  if (untilDate !== null && untilDate <= fromDate)
    throw fieldInvalid('plan.until_date', 'must be later than from_date', 'schedule.dates');
  if (!windows.length) throw fieldInvalid('plan.windows', 'must have at least one window', 'schedule.windows');
  checkWindows('plan.windows', windows);
}

/** Throws FIELD_INVALID for a window without a slot in it, or one that overlaps another of the same day. */
export function checkWindows(field: string, windows: readonly (DayWindow & { readonly weekday?: number })[]): void {
  for (const [i, { start, end, slotMinutes, weekday }] of windows.entries()) {
    for (const [name, minutes] of Object.entries({ local_start: start, local_end: end }))
      if (minutes > MIDNIGHT)
        throw fieldInvalid(`${field}[${i}].${name}`, 'must be 24:00 at the latest', 'window.clock');
    if (end <= start)
      throw fieldInvalid(
        `${field}[${i}].local_end`,
        'must be later than local_start: write a window over midnight as two, until 24:00 and from 00:00 of the next day',
        'window.order',
      );
    if (end - start < slotMinutes)
      throw fieldInvalid(`${field}[${i}].slot_minutes`, 'must fit into the window', 'window.slot');
    const overlaps = windows
      .slice(0, i)
      .some((other) => other.weekday === weekday && start < other.end && other.start < end);
    if (overlaps) throw fieldInvalid(`${field}[${i}]`, 'overlaps another window of the day', 'window.overlap');
  }
}
