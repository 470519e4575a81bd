import { randomUUIDv7 as uuid } from 'node:crypto';
import { sql } from '../db/sql.ts';
import { rows } from '../db/statement.ts';
import type { Job } from '../jobs/job.ts';
import { wakeDelivery } from './wake-delivery.ts';

/** Reminders made in one transaction. */
const BATCH = 500;
const HOUR_MS = 3_600_000;

/**
 * Makes the reminders of appointments that begin within a day, for patients who have shown that their address is theirs: one for each
 * start of each booking. Whoever booked within that day has just thought of it and gets none; one that is moved is a new start. None of an
 * appointment that has begun, however late this is. One that was dropped, because the booking had been moved away, is taken up again
 * when it is moved back.
 */
export const queueReminders: Job = {
  name: 'queue-reminders',
  schedule: '*/5 * * * *',
  overdueMs: HOUR_MS,
  async run(step) {
    let queued = 0;
    for (let batch = BATCH; batch === BATCH; queued += batch) {
      batch = await step(async (em) => {
        const due = await rows<{ id: string }>(em, dueBookings);
        if (due.length === 0) return 0;
        const ids = due.map(({ id }) => id);
        const made = await rows(
          em,
          sql`INSERT INTO mail (id, kind, user_id, booking_id, start_at, state, attempts, due_at, expires_at, created_at)
              SELECT made.id, 'REMINDER', patient_id, booking.id, start_at, 'QUEUED', 0, now(), start_at, now()
              FROM unnest(${ids.map(() => uuid())}::uuid[], ${ids}::uuid[]) AS made (id, booking_id) JOIN booking ON booking.id = made.booking_id
              ON CONFLICT (booking_id, start_at) DO UPDATE SET state = 'QUEUED', ended_at = NULL, due_at = now()
              WHERE mail.state = 'DROPPED' RETURNING 1`,
        );
        await wakeDelivery(em);
        return made.length;
      });
    }
    return queued;
  },
};

const dueBookings = sql`SELECT b.id FROM booking b JOIN app_user u ON u.id = b.patient_id
  WHERE b.state IN ('CONFIRMED', 'CHECKED_IN') AND b.start_at > now() AND b.start_at <= now() + interval '24 hours'
    AND b.created_at <= b.start_at - interval '24 hours' AND u.state = 'ACTIVE' AND u.email_verified_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM mail m WHERE m.booking_id = b.id AND m.start_at = b.start_at AND m.state <> 'DROPPED')
  ORDER BY b.start_at LIMIT ${BATCH}`;
