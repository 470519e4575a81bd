import { Migration } from '@mikro-orm/migrations';

/**
 * Seals of the audit log: batches of its rows in a chain of signed roots (docs/decisions/2026-11-30-audit-seals.md). Rows are found by
 * their transaction. Where the log is large already, its index takes about a second for each million rows, during which nobody
 * can write to it; partitions that have such an index before, made CONCURRENTLY, keep that.
 */
export class AuditSeals extends Migration {
  override up(): void {
    this.addSql(`CREATE INDEX audit_event_xid ON audit_event (xid)`);
    this.addSql(`
      CREATE TABLE audit_seal (
        number bigint PRIMARY KEY CHECK (number >= 1),
        version smallint NOT NULL,
        previous_root bytea NOT NULL CHECK (octet_length(previous_root) = 32),
        era integer NOT NULL CHECK (era >= 1),
        era_from timestamptz,
        xid_from xid8 NOT NULL,
        xid_end xid8 NOT NULL CHECK (xid_end > xid_from),
        next_xid xid8 NOT NULL,
        row_count integer NOT NULL CHECK (row_count >= 1),
        first_recorded_at timestamptz NOT NULL,
        last_recorded_at timestamptz NOT NULL,
        leaves bytea NOT NULL CHECK (octet_length(leaves) = 32 * row_count),
        sealed_at timestamptz NOT NULL,
        root bytea NOT NULL CHECK (octet_length(root) = 32),
        key_id text NOT NULL,
        signature bytea NOT NULL
      )`);
    this.addSql(`ALTER TABLE audit_seal ALTER COLUMN leaves SET STORAGE EXTERNAL`); // hashes can't be compressed
    this.addSql(`CREATE UNIQUE INDEX audit_seal_era ON audit_seal (era) WHERE xid_from = '0'::xid8`);
    this.addSql(`
      CREATE TRIGGER audit_seal_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seal
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()`);
  }
}
