import { sql } from '../db/sql.ts';
import { allOf, type Sql } from '../db/statement.ts';
import type { DoctorState } from './doctor.entity.ts';

/** A doctor as listings show one: profile, account and next open time together. */
export interface DoctorView {
  readonly id: string;
  readonly displayName: string;
  readonly specialties: string[];
  readonly languages: string[];
  readonly bio: string;
  readonly timeZone: string;
  readonly state: DoctorState;
  /** Start of the next open slot; undefined when there is none. */
  readonly nextOpenAt: Date | undefined;
}

/** A row of `doctorColumns` and `next_open_at`. */
export interface DoctorRow {
  readonly id: string;
  readonly display_name: string;
  readonly specialties: string[];
  readonly languages: string[];
  readonly bio: string;
  readonly time_zone: string;
  readonly state: DoctorState;
  readonly next_open_at: Date | null;
}

/** What a DoctorView needs of `doctor d` joined with `app_user u`. */
export const doctorColumns: Sql = sql`d.user_id AS id, u.display_name, d.specialties, d.languages, d.bio, u.time_zone, d.state`;

/** A range of start times; absent ends don't bound it. */
export interface OpenRange {
  readonly from?: Date | undefined;
  readonly until?: Date | undefined;
}

/** Start of the first open slot after `now`, in `range`, of an active `doctor d`. */
export function nextOpen(now: Date, range: OpenRange = {}): Sql {
  return sql`SELECT start_at FROM slot WHERE doctor_id = d.user_id AND d.state = 'ACTIVE' AND state = 'OPEN' AND ${allOf(
    [
      sql`start_at > ${now}`,
      range.from && sql`start_at >= ${range.from}`,
      range.until && sql`start_at < ${range.until}`,
    ],
  )} ORDER BY start_at LIMIT 1`;
}

export function doctorView({ display_name, time_zone, next_open_at, ...same }: DoctorRow): DoctorView {
  return { ...same, displayName: display_name, timeZone: time_zone, nextOpenAt: next_open_at ?? undefined };
}
