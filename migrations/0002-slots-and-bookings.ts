import { Migration } from '@mikro-orm/migrations';

/**
 * Slots and bookings. The constraints hold whatever the code does: a doctor's live slots never overlap, a slot has at
 * most one live booking, a patient is never in two places. None of them is deferrable, and neither table can be
 * partitioned, because these constraints can't exist across partitions.
 */
export class SlotsAndBookings extends Migration {
  override up(): void {
    const possible = `
        CHECK (isfinite(start_at) AND isfinite(end_at) AND start_at < end_at),
        CHECK (start_at >= '1970-01-01Z' AND end_at < '2200-01-01Z')`;

    this.addSql(`
      CREATE TABLE slot (
        id uuid PRIMARY KEY,
        doctor_id uuid NOT NULL REFERENCES doctor (user_id),
        start_at timestamptz NOT NULL,
        end_at timestamptz NOT NULL,
        state text NOT NULL CHECK (state IN ('OPEN', 'BOOKED', 'WITHDRAWN')),
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        ${possible},
        CHECK (mod(extract(epoch FROM start_at), 60) = 0 AND mod(extract(epoch FROM end_at), 60) = 0),
        CHECK (end_at - start_at BETWEEN interval '5 minutes' AND interval '8 hours'),
        CONSTRAINT slot_never_overlaps EXCLUDE USING gist (doctor_id WITH =, tstzrange(start_at, end_at) WITH &&)
          WHERE (state <> 'WITHDRAWN')
      ) WITH (fillfactor = 90)`);
    this.addSql(`CREATE INDEX slot_by_doctor ON slot (doctor_id, start_at, id)`);
    this.addSql(`CREATE INDEX slot_open ON slot (doctor_id, start_at, id) WHERE state = 'OPEN'`);
    this.addSql(
      `CREATE INDEX slot_by_start ON slot (start_at) INCLUDE (doctor_id, end_at, state) WHERE state <> 'WITHDRAWN'`,
    );

    this.addSql(`
      CREATE TABLE booking (
        id uuid PRIMARY KEY,
        slot_id uuid NOT NULL REFERENCES slot (id),
        doctor_id uuid NOT NULL REFERENCES doctor (user_id),
        patient_id uuid NOT NULL REFERENCES app_user (id),
        start_at timestamptz NOT NULL,
        end_at timestamptz NOT NULL,
        state text NOT NULL
          CHECK (state IN ('CONFIRMED', 'CHECKED_IN', 'IN_PROGRESS', 'COMPLETED', 'CANCELLED', 'NO_SHOW')),
        reason_for_visit text NOT NULL,
        cancel_reason text NOT NULL,
        cancelled_by_role text CHECK (cancelled_by_role IN ('PATIENT', 'DOCTOR', 'ADMINISTRATOR')),
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        ${possible},
        CHECK ((state = 'CANCELLED') = (cancelled_by_role IS NOT NULL)),
        CONSTRAINT booking_patient_in_one_place EXCLUDE USING gist (patient_id WITH =, tstzrange(start_at, end_at) WITH &&)
          WHERE (state IN ('CONFIRMED', 'CHECKED_IN', 'IN_PROGRESS'))
      ) WITH (fillfactor = 90)`);
    this.addSql(`CREATE UNIQUE INDEX booking_one_per_slot ON booking (slot_id) WHERE state <> 'CANCELLED'`);
    this.addSql(`CREATE INDEX booking_slot ON booking (slot_id)`);
    this.addSql(`CREATE INDEX booking_by_doctor ON booking (doctor_id, start_at, id)`);
    this.addSql(`CREATE INDEX booking_by_patient ON booking (patient_id, start_at, id)`);
    this.addSql(`CREATE INDEX booking_by_start ON booking (start_at, id)`);
    this.addSql(`CREATE INDEX booking_by_creation ON booking (created_at)`);
  }
}
