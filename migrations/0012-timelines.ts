import { Migration } from '@mikro-orm/migrations';

/**
 * A mark for each timeline of the database, as PostgreSQL numbers them from failover to failover. A replica that shows it is one of this
 * database, since that failover: it tells one from a standby of another cluster or of a leader that was.
 */
export class Timelines extends Migration {
  override up(): void {
    this.addSql(`CREATE TABLE timeline (number integer PRIMARY KEY, mark uuid NOT NULL)`);
  }
}
