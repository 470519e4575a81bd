import { Migration } from '@mikro-orm/migrations';

/**
 * Whose listings a transaction has changed, written with the change, so that every instance learns of it that keeps copies.
 * Rows live for a minute or two.
 */
export class ListingChanges extends Migration {
  override up(): void {
    this.addSql(`
      CREATE TABLE listing_change (
        xid xid8 NOT NULL,
        doctor_id uuid NOT NULL,
        profile boolean NOT NULL
      ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)`);
    this.addSql(`CREATE INDEX listing_change_by_xid ON listing_change (xid)`);
  }
}
