import { Migration } from '@mikro-orm/migrations';

/**
 * The audit log: only grows, partitioned by month. There is no DEFAULT partition, so that a month can always be attached
 * without a scan; partitions are made far ahead instead, by `ensure_audit_partitions`.
 */
export class Audit extends Migration {
  override up(): void {
    this.addSql(`
      CREATE TABLE audit_event (
        id uuid NOT NULL,
        recorded_at timestamptz NOT NULL,
        actor_id uuid,
        actor_role text,
        session_id uuid,
        action text NOT NULL,
        outcome text NOT NULL CHECK (outcome IN ('DONE', 'REFUSED')),
        reason text NOT NULL,
        entity_type text NOT NULL,
        entity_id uuid,
        patient_id uuid,
        request_id uuid,
        trace_id text NOT NULL,
        client_address text NOT NULL,
        instance text NOT NULL,
        changed_fields text[] NOT NULL,
        xid xid8 NOT NULL,
        PRIMARY KEY (recorded_at, id)
      ) PARTITION BY RANGE (recorded_at)`);
    this.addSql(`CREATE INDEX audit_event_actor ON audit_event (actor_id, recorded_at, id)`);
    this.addSql(`CREATE INDEX audit_event_action ON audit_event (action, recorded_at, id)`);
    this.addSql(`CREATE INDEX audit_event_entity ON audit_event (entity_id, recorded_at, id)`);
    this.addSql(
      `CREATE INDEX audit_event_patient ON audit_event (patient_id, recorded_at, id) WHERE patient_id IS NOT NULL`,
    );
    this.addSql(`CREATE INDEX audit_event_refused ON audit_event (action, recorded_at) WHERE outcome = 'REFUSED'`);

    this.addSql(`
      CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        RAISE EXCEPTION 'the audit log only grows: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
      END $$`);
    // A statement-level trigger fires only for the table that the statement names: the parent has one, each partition another.
    this.addSql(`
      CREATE TRIGGER audit_event_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()`);

    // Made apart and attached: ATTACH of a table whose CHECK fits locks the parent for moments; CREATE … PARTITION OF doesn't.
    this.addSql(`
      CREATE FUNCTION ensure_audit_partitions(months_ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
      DECLARE
        first_day timestamp;
        name text;
        made integer := 0;
      BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('ensure_audit_partitions'));
        FOR first_day IN SELECT generate_series(
            date_trunc('month', now() AT TIME ZONE 'UTC'),
            date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => months_ahead), interval '1 month') LOOP
          name := 'audit_event_' || to_char(first_day, 'YYYY_MM');
          CONTINUE WHEN to_regclass(name) IS NOT NULL;
          EXECUTE format('CREATE TABLE %I (LIKE audit_event INCLUDING ALL, CHECK (recorded_at >= %L AND recorded_at < %L))',
            name, first_day::text || 'Z', (first_day + interval '1 month')::text || 'Z');
          EXECUTE format('CREATE TRIGGER audit_event_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON %I
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()', name);
          EXECUTE format('ALTER TABLE audit_event ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            name, first_day::text || 'Z', (first_day + interval '1 month')::text || 'Z');
          made := made + 1;
        END LOOP;
        RETURN made;
      END $$`);
    this.addSql(`SELECT ensure_audit_partitions(24)`);
  }
}
