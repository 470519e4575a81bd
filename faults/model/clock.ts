import pg from 'pg';

/** The clock of one database, by which every decision of every instance is made. */
export interface Clock {
  /** Makes it this time now; it goes on from there. */
  set(time: Date): Promise<void>;
  close(): Promise<void>;
}

/**
 * Gives the database of `url` a clock that can be moved: `clock_timestamp()`, asked for without a schema, is found before
 * PostgreSQL's own. Counts for connections opened afterwards. So the instances need no switch, and all of them move at once.
 */
export async function movableClock(url: string): Promise<Clock> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  await client.query(`
    CREATE SCHEMA drill;
    CREATE TABLE drill.clock (ahead interval NOT NULL);
    INSERT INTO drill.clock VALUES ('0');
    CREATE FUNCTION drill.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
      AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM drill.clock';
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, drill, pg_catalog', current_database()); END $$`);
  return {
    async set(time) {
      await client.query('UPDATE drill.clock SET ahead = $1::timestamptz - pg_catalog.clock_timestamp()', [time]);
    },
    close: () => client.end(),
  };
}
