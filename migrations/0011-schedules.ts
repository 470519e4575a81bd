import { Migration } from '@mikro-orm/migrations';

/**
 * Weekly schedules, the dates on which they don't count, and when each doctor's slots are next to be made. A slot remembers the
 * schedule that made it, and whether a schedule or a person took it back. Nothing is rewritten; while the index on `slot` is built,
 * slots can be neither read nor changed: a seventh to a third of a second for each million, because it has nothing yet to hold. None of it names `slot.state`: slots are booked in place.
 */
export class Schedules extends Migration {
  override up(): void {
    this.addSql(`
      CREATE TABLE schedule (
        id uuid PRIMARY KEY,
        doctor_id uuid NOT NULL REFERENCES doctor (user_id),
        time_zone text NOT NULL,
        from_date date NOT NULL,
        until_date date,
        windows jsonb NOT NULL CHECK (jsonb_typeof(windows) = 'array'),
        advance_days integer NOT NULL CHECK (advance_days BETWEEN 1 AND 400),
        state text NOT NULL CHECK (state IN ('ACTIVE', 'DELETED')),
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CHECK (until_date > from_date)
      )`);
    this.addSql(`CREATE INDEX schedule_by_doctor ON schedule (doctor_id, id)`);

    this.addSql(`
      CREATE TABLE schedule_exception (
        id uuid PRIMARY KEY,
        doctor_id uuid NOT NULL REFERENCES doctor (user_id),
        date date NOT NULL,
        windows jsonb NOT NULL CHECK (jsonb_typeof(windows) = 'array'),
        created_at timestamptz NOT NULL
      )`);
    this.addSql(`CREATE UNIQUE INDEX schedule_exception_one_a_date ON schedule_exception (doctor_id, date)`);

    this.addSql(`
      CREATE TABLE agenda (
        doctor_id uuid PRIMARY KEY REFERENCES doctor (user_id),
        due_at timestamptz,
        filled_at timestamptz NOT NULL
      )`);
    this.addSql(`CREATE INDEX agenda_due ON agenda (due_at)`);

    this.addSql(`ALTER TABLE slot ADD COLUMN schedule_id uuid REFERENCES schedule (id)`);
    this.addSql(`ALTER TABLE slot ADD COLUMN retracted_at timestamptz`);
    this.addSql(`CREATE INDEX slot_by_schedule ON slot (schedule_id) WHERE schedule_id IS NOT NULL`);
  }
}
