import { runCommand } from '../../test/support/process-service.ts';
import { brokenCopy } from '../broken-copy.ts';
import type { Drill } from '../drill.ts';
import { underLoad } from '../under-load.ts';

/** A next release: a column and an index more, and a second for which it holds their locks. */
const NEXT_RELEASE = {
  file: 'migrations/index.ts',
  from: '\n];',
  to: `
  {
    name: '9999-one-more-column',
    class: class extends Accounts {
      override up() {
        this.addSql('ALTER TABLE booking ADD COLUMN one_more text');
        this.addSql('CREATE INDEX booking_one_more ON booking (one_more)');
        this.addSql('SELECT pg_sleep(1)');
      }
    },
  },
];`,
  means: 'it has a migration more',
};
const RECOVERY_MS = 5_000;

export const migrationUnderLoad: Drill = {
  name: 'migration-under-load',
  story: 'the next release migrates the database, twice at once, while 16 patients book at instances of this one',
  breaks: [
    {
      file: 'src/db/migrate.ts',
      from: "'SELECT pg_advisory_lock($1)'",
      to: "'SELECT $1::int'",
      means: 'two migrations run at once',
    },
    {
      file: 'src/db/migrate.ts',
      from: '/^\\d+-contract-/',
      to: '/^\\d+-/',
      means: 'an older build refuses a database that was only expanded',
    },
  ],
  run: (stage) =>
    underLoad(stage, {}, async ({ clinic, bookers }) => {
      const next = await brokenCopy(stage.root, NEXT_RELEASE);
      try {
        const startedAt = performance.now();
        const env = { DATABASE_URL: stage.postgres.url(clinic.database) };
        const runs = await Promise.all([1, 2].map(() => runCommand('migrate', { root: next.root, env })));
        const endedAt = performance.now();
        const failed = runs.find(({ code }) => code !== 0);
        if (failed) throw new Error(`a migration failed: ${failed.output.trim().split('\n').at(-1)}`);
        const recoveryMs = await bookers.servedAfter(endedAt, RECOVERY_MS);
        const booked = bookers.acknowledged.filter(({ at }) => at > startedAt && at < endedAt).length;
        await clinic.start(); // of the old release, which serves on
        return { recoveryMs, notes: [`${booked} booked while it migrated for ${(endedAt - startedAt).toFixed(0)} ms`] };
      } finally {
        await next.remove();
      }
    }),
};
