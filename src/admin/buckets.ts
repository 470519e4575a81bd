import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { rows, type Sql } from '../db/statement.ts';
import { type Fault, fieldInvalid } from '../fault.ts';

/** The length of a bucket. */
export type BucketUnit = 'HOUR' | 'DAY' | 'WEEK' | 'MONTH';

/** The range of a report, and how it is cut. */
export interface Cut {
  readonly from: Date;
  /** Exclusive. */
  readonly until: Date;
  readonly unit: BucketUnit;
  /** IANA name that was checked. */
  readonly timeZone: string;
}

/** Most buckets of one report. */
const MOST = 400;
const HOUR_MS = 3_600_000;
/** The longest that each can be, in hours: with the day on which the clocks go back. */
const LONGEST: Readonly<Record<BucketUnit, number>> = { HOUR: 1, DAY: 25, WEEK: 7 * 24 + 1, MONTH: 31 * 24 + 1 };

/**
 * The starts of the buckets: `from`, then every hour, midnight, Monday or first of the month of the zone before `until`.
 * A day at which the clocks change is one bucket of 23 or 25 hours. Throws FIELD_INVALID for more than 400.
 */
export async function bucketStarts(em: EntityManager, { from, until, unit, timeZone }: Cut): Promise<Date[]> {
  if (until <= from) throw fieldInvalid('until', 'must be after from', 'analytics.range');
  if (until.getTime() - from.getTime() > MOST * LONGEST[unit] * HOUR_MS) throw tooMany();
  const step = sql`${`1 ${unit.toLowerCase()}`}::interval`;
  // Hours are counted in UTC, so that the one that comes twice in autumn is two; longer units on the zone's calendar.
  const starts =
    unit === 'HOUR'
      ? sql`generate_series(date_trunc('hour', ${from}::timestamptz, ${timeZone}), ${until}::timestamptz, ${step})`
      : sql`generate_series(date_trunc(${unit.toLowerCase()}, ${from}::timestamptz AT TIME ZONE ${timeZone}),
          ${until}::timestamptz AT TIME ZONE ${timeZone}, ${step})`;
  const instant = unit === 'HOUR' ? sql`local` : firstInstant(timeZone);
  const found = await rows<{ start: Date }>(
    em,
    sql`SELECT greatest(${instant}, ${from}::timestamptz) AS start FROM ${starts} AS local
        WHERE ${instant} < ${until} ORDER BY local LIMIT ${MOST + 2}`,
  );
  const distinct = [...new Map(found.map(({ start }) => [start.getTime(), start])).values()];
  if (distinct.length > MOST) throw tooMany();
  return distinct;
}

/** When a local time comes twice, because the clocks go back over midnight, the day begins the first time. */
function firstInstant(timeZone: string): Sql {
  const hour = sql`interval '1 hour'`;
  return sql`least(local AT TIME ZONE ${timeZone}, (local - ${hour}) AT TIME ZONE ${timeZone} + ${hour})`;
}

function tooMany(): Fault {
  return fieldInvalid('bucket', `the range holds more than ${MOST} buckets`, 'analytics.buckets');
}
