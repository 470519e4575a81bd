import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row, type Sql } from '../db/statement.ts';
import { Fault } from '../fault.ts';
import { bucketStarts, type Cut } from './buckets.ts';

/** What GetAnalytics asks for. */
export interface AnalyticsAsk extends Cut {
  /** Empty: every doctor. */
  readonly doctorId: string;
}

/** Counts of one bucket; `bucket` counts from 1, null is the whole range. */
interface Made {
  readonly bucket: number | null;
  readonly made: number;
  /** Seconds. */
  readonly median_lead: number | null;
}
interface Ended {
  readonly bucket: number | null;
  readonly cancelled: number;
  readonly completed: number;
  readonly no_shows: number;
}
interface Minutes {
  readonly bucket: number | null;
  readonly published: number;
  readonly booked: number;
}
interface Refused {
  readonly bucket: number | null;
  readonly reason: string;
  readonly count: number;
}

/** A doctor among the busiest. */
export interface Busy {
  readonly doctor_id: string;
  readonly display_name: string;
  readonly bookings: number;
  readonly minutes: number;
}

/** Figures of a stretch of time; `bookings made` and refusals by when they happened, the rest by start time. */
export interface Figures {
  readonly startAt: Date;
  readonly endAt: Date;
  readonly made: number;
  readonly refusals: readonly Pick<Refused, 'reason' | 'count'>[];
  readonly cancelled: number;
  readonly completed: number;
  readonly noShows: number;
  /** Seconds; undefined when nothing was made. */
  readonly medianLead: number | undefined;
  readonly publishedMinutes: number;
  readonly bookedMinutes: number;
}

export interface Analytics {
  readonly buckets: readonly Figures[];
  readonly totals: Figures;
  readonly busiest: readonly Busy[];
}

interface Counted {
  readonly known: boolean;
  readonly made: readonly Made[];
  readonly ended: readonly Ended[];
  readonly minutes: readonly Minutes[];
  readonly refused: readonly Refused[];
  readonly busiest: readonly Busy[];
}

/** Figures of what happened in the range, counted in one statement, so at one moment. Throws DOCTOR_NOT_FOUND, FIELD_INVALID. */
export async function getAnalytics(em: EntityManager, ask: AnalyticsAsk): Promise<Analytics> {
  const starts = await bucketStarts(em, ask);
  const counted = await row<Counted>(em, statement(ask, starts));
  if (!counted?.known) throw new Fault('DOCTOR_NOT_FOUND', 'no such doctor');
  const ends = [...starts.slice(1), ask.until];
  return {
    buckets: starts.map((startAt, i) => figures(counted, i + 1, { startAt, endAt: ends[i] as Date })),
    totals: figures(counted, null, { startAt: ask.from, endAt: ask.until }),
    busiest: counted.busiest,
  };
}

function figures(counted: Counted, bucket: number | null, range: { startAt: Date; endAt: Date }): Figures {
  const of = <T extends { bucket: number | null }>(rows: readonly T[]) => rows.find((one) => one.bucket === bucket);
  const [made, ended, minutes] = [of(counted.made), of(counted.ended), of(counted.minutes)];
  return {
    ...range,
    made: made?.made ?? 0,
    refusals: counted.refused.filter((one) => one.bucket === bucket),
    cancelled: ended?.cancelled ?? 0,
    completed: ended?.completed ?? 0,
    noShows: ended?.no_shows ?? 0,
    medianLead: made?.median_lead ?? undefined,
    publishedMinutes: minutes?.published ?? 0,
    bookedMinutes: minutes?.booked ?? 0,
  };
}

/** All counts at once. Each part is grouped by bucket and in total; a median of medians would be none. */
function statement({ from, until, doctorId }: AnalyticsAsk, starts: readonly Date[]): Sql {
  const within = (column: Sql) => sql`${column} >= ${from} AND ${column} < ${until}`;
  const bucket = (column: Sql) => sql`width_bucket(${column}, ${starts}::timestamptz[])`;
  const ofDoctor = doctorId === '' ? sql`TRUE` : sql`doctor_id = ${doctorId}`;
  const ofDoctorsSlot =
    doctorId === '' ? sql`TRUE` : sql`entity_id IN (SELECT id FROM slot WHERE doctor_id = ${doctorId})`;
  // Under a name that no column has: `made` alone would be the column, not the row.
  const all = (part: string) =>
    sql`(SELECT coalesce(jsonb_agg(line), '[]') FROM ${sql.ref(part)} AS line) AS ${sql.ref(part)}`;
  const minutes = sql`extract(epoch FROM end_at - start_at) / 60`;
  return sql`
    WITH made AS (
      SELECT bucket, count(*) AS made, percentile_cont(0.5) WITHIN GROUP (ORDER BY lead) AS median_lead
      FROM (SELECT ${bucket(sql`created_at`)} AS bucket, extract(epoch FROM start_at - created_at)::double precision AS lead
            FROM booking WHERE ${within(sql`created_at`)} AND ${ofDoctor}) b
      GROUP BY GROUPING SETS ((bucket), ())),
    ended AS (
      SELECT bucket, count(*) FILTER (WHERE state = 'CANCELLED') AS cancelled,
        count(*) FILTER (WHERE state = 'COMPLETED') AS completed, count(*) FILTER (WHERE state = 'NO_SHOW') AS no_shows
      FROM (SELECT ${bucket(sql`start_at`)} AS bucket, state FROM booking WHERE ${within(sql`start_at`)} AND ${ofDoctor}) b
      GROUP BY GROUPING SETS ((bucket), ())),
    minutes AS (
      SELECT bucket, coalesce(sum(minutes), 0) AS published, coalesce(sum(minutes) FILTER (WHERE state = 'BOOKED'), 0) AS booked
      FROM (SELECT ${bucket(sql`start_at`)} AS bucket, state, ${minutes} AS minutes
            FROM slot WHERE ${within(sql`start_at`)} AND live AND ${ofDoctor}) s
      GROUP BY GROUPING SETS ((bucket), ())),
    refused AS (
      SELECT bucket, reason, count(*) AS count
      FROM (SELECT ${bucket(sql`recorded_at`)} AS bucket, reason FROM audit_event
            WHERE action = 'BookSlot' AND outcome = 'REFUSED' AND ${within(sql`recorded_at`)} AND ${ofDoctorsSlot}) a
      GROUP BY GROUPING SETS ((bucket, reason), (reason)) ORDER BY count DESC, reason),
    busiest AS (
      SELECT b.doctor_id, u.display_name, b.bookings, b.minutes
      FROM (SELECT doctor_id, count(*) AS bookings, sum(${minutes}) AS minutes
            FROM booking WHERE ${within(sql`start_at`)} AND state <> 'CANCELLED' AND ${ofDoctor}
            GROUP BY doctor_id ORDER BY bookings DESC, doctor_id LIMIT 10) b
      JOIN app_user u ON u.id = b.doctor_id ORDER BY b.bookings DESC, b.doctor_id)
    SELECT ${doctorId === '' ? sql`TRUE` : sql`EXISTS (SELECT FROM doctor WHERE user_id = ${doctorId})`} AS known,
      ${sql.join(['made', 'ended', 'minutes', 'refused', 'busiest'].map(all))}`;
}
