import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { rows } from '../db/statement.ts';
import type { Offers } from './offered-slots.ts';
import type { DayWindow, WeeklyWindow } from './schedule.entity.ts';

interface ScheduleRow {
  readonly id: string;
  readonly time_zone: string;
  readonly from_date: string;
  readonly until_date: string | null;
  readonly windows: readonly WeeklyWindow[];
  readonly advance_days: number;
  readonly created_at: Date;
}

/** What a doctor's schedules and exceptions say by now. Two statements. */
export async function loadOffers(em: EntityManager, doctorId: string): Promise<Offers> {
  const schedules = await rows<ScheduleRow>(
    em,
    sql`SELECT * FROM schedule WHERE doctor_id = ${doctorId} AND state = 'ACTIVE' ORDER BY id`,
  );
  const exceptions = await rows<{ date: string; windows: readonly DayWindow[] }>(
    em,
    sql`SELECT date, windows FROM schedule_exception WHERE doctor_id = ${doctorId} AND date >= now()::date - 2`,
  );
  return {
    schedules: schedules.map((found) => ({
      id: found.id,
      timeZone: found.time_zone,
      fromDate: found.from_date,
      untilDate: found.until_date,
      windows: found.windows,
      advanceDays: found.advance_days,
      createdAt: found.created_at,
    })),
    exceptions: new Map(exceptions.map(({ date, windows }) => [date, windows])),
  };
}
