import { Migration } from '@mikro-orm/migrations';

/**
 * What background jobs need beside the tables that graphile-worker makes itself, up to its revision 20, right before this one runs
 * (src/db/migrate.ts): who is at a job, and how it went. And what lets them run under a role that owns nothing.
 */
export class GraphileWorker20 extends Migration {
  override up(): void {
    this.addSql(`
      CREATE TABLE job (
        name text PRIMARY KEY,
        holder text,
        seen_at timestamptz NOT NULL,
        succeeded_at timestamptz,
        failed_at timestamptz,
        failures integer NOT NULL CHECK (failures >= 0),
        error text
      )`);
    // Without policies they let nobody in but their owner, whatever was granted; who was granted nothing gets nothing without them, too.
    // Its schema is that of src/db/worker-schema.ts.
    for (const table of ['jobs', 'job_queues', 'tasks', 'known_crontabs'])
      this.addSql(`
        DO $$ BEGIN
          EXECUTE format('ALTER TABLE %I._private_${table} DISABLE ROW LEVEL SECURITY',
            CASE current_schema() WHEN 'public' THEN 'graphile_worker' ELSE current_schema() || '_worker' END);
        END $$`);
    // Only the owner of a table can give it partitions.
    this.addSql(`
      DO $$ BEGIN
        EXECUTE format('ALTER FUNCTION ensure_audit_partitions(integer) SECURITY DEFINER SET search_path TO %s, pg_temp',
          current_setting('search_path'));
      END $$`);
    this.addSql(`REVOKE EXECUTE ON FUNCTION ensure_audit_partitions(integer) FROM PUBLIC`);
  }
}
