import { sql } from '../db/sql.ts';
import { rows } from '../db/statement.ts';
import type { Job } from './job.ts';
import type { Pace } from './run-jobs.ts';

/** So quick that tests needn't wait long. */
export const QUICK: Pace = { pollMs: 100, leaseMs: 2_000, sweepMs: 100 };

/** Takes the rows out of `todo` one by one, `ms` milliseconds each, and says in `did` who took which. */
export const slowJob = (instance: string, ms: number): Job => ({
  name: 'slow',
  schedule: '0 0 1 1 *',
  overdueMs: 0,
  async run(step) {
    for (let did = 0; ; did++) {
      const taken = await step((em) =>
        rows(
          em,
          sql`WITH slept AS MATERIALIZED (SELECT pg_sleep(${ms / 1000})),
                taken AS (DELETE FROM todo WHERE id = (SELECT min(id) FROM todo, slept) RETURNING id)
              INSERT INTO did (id, instance) SELECT id, ${instance} FROM taken RETURNING 1`,
        ),
      );
      if (taken.length === 0) return did;
    }
  },
});
