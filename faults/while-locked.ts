import { sql } from '../src/db/sql.ts';
import { forkFor, row, rows } from '../src/db/statement.ts';
import { inTransaction } from '../src/db/transaction.ts';
import type { Service } from '../test/support/process-service.ts';
import type { Clinic } from './clinic.ts';

/** Which rows somebody else holds, and whose statements are counted. */
export interface Held {
  readonly table: 'slot' | 'app_user';
  readonly rows: readonly { readonly id: string }[];
  readonly services: readonly Service[];
}

/** Does `work` while a transaction of ours holds the rows. It is given how many statements of the instances wait for a lock now. */
export function whileLocked<T>(
  clinic: Clinic,
  { table, rows: held, services }: Held,
  work: (waiting: () => Promise<number>) => Promise<T>,
): Promise<T> {
  const ids = held.map(({ id }) => id);
  const names = services.map(({ pid }) => `amrutam %-${pid}`);
  const count = async () => {
    const found = await row<{ count: number }>(
      forkFor(clinic.orm),
      sql`SELECT count(*) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE ANY(${names}) AND wait_event_type = 'Lock'`,
    );
    return found?.count ?? 0;
  };
  return inTransaction(clinic.orm, AbortSignal.timeout(30_000), async (em) => {
    await rows(em, sql`SELECT 1 FROM ${sql.ref(table)} WHERE id = ANY(${ids}) FOR UPDATE`);
    return work(async () => {
      await rows(em, sql`SELECT 1`); // or the database would end this transaction, as it has been idle for long
      return count();
    });
  });
}
