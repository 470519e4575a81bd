import { readSealKeys } from './audit/seal-keys.ts';
import { BATCH, sealRows } from './audit/seal-rows.ts';
import type { Job } from './jobs/job.ts';
import type { Logger } from './log.ts';

const HOUR_MS = 3_600_000;

/**
 * Seals the audit log, a batch in each step, with the keys that are in the file then. Each seal is told in the log, where whoever
 * owns the database can't take it back: number and root are what the end of the chain is compared with.
 */
export function sealing(keysFile: string, log: Pick<Logger, 'info'>): Job {
  return {
    name: 'seal-audit-log',
    schedule: '* * * * *',
    overdueMs: HOUR_MS,
    async run(step) {
      const keys = await readSealKeys(keysFile);
      for (let sealed = 0; ; ) {
        const seal = await step((em) => sealRows(em, keys));
        if (!seal) return sealed;
        const { number, root, rowCount } = seal;
        log.info({ seal: number, root: root.toString('hex'), rows: rowCount }, 'the audit log is sealed');
        sealed += rowCount;
        if (rowCount < BATCH) return sealed;
      }
    },
  };
}
