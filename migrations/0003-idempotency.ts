import { Migration } from '@mikro-orm/migrations';

/**
 * One row for each request_id of a caller and method, with the answer it got. Without a foreign key: rows are purged by
 * age, and the claim must not touch the user's row before its turn in the lock order.
 */
export class Idempotency extends Migration {
  override up(): void {
    this.addSql(`
      CREATE TABLE idempotency (
        caller_id uuid NOT NULL,
        method text NOT NULL,
        request_id uuid NOT NULL,
        fingerprint bytea NOT NULL,
        code integer,
        answer bytea,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (caller_id, method, request_id)
      ) WITH (fillfactor = 70)`);
    this.addSql(`CREATE INDEX idempotency_by_age ON idempotency (created_at)`);
  }
}
