import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import { dateAt } from './local-time.ts';
import type { Plan } from './schedule.entity.ts';

/** What is asked of a plan: an empty zone or first date, and no days, stand for what is usual. */
export type PlanParts = Partial<Plan>;

const ADVANCE_DAYS = 60;

/** Of the parts that are given: for an empty zone that of the doctor's account, for an empty first date today, for 0 days ahead 60. */
export async function completeParts(
  em: EntityManager,
  parts: PlanParts,
  { doctorId, now, zone }: { readonly doctorId: string; readonly now: Date; readonly zone?: string },
): Promise<PlanParts> {
  const { timeZone = zone ?? '', fromDate, advanceDays, ...given } = parts;
  const timeZoneOf = timeZone || (await accountZone(em, doctorId));
  return {
    ...given,
    ...(parts.timeZone !== undefined && { timeZone: timeZoneOf }),
    ...(fromDate !== undefined && { fromDate: fromDate || dateAt(timeZoneOf, now).toString() }),
    ...(advanceDays !== undefined && { advanceDays: advanceDays || ADVANCE_DAYS }),
  };
}

async function accountZone(em: EntityManager, userId: string): Promise<string> {
  const found = await row<{ time_zone: string }>(em, sql`SELECT time_zone FROM app_user WHERE id = ${userId}`);
  return found?.time_zone ?? 'UTC';
}
