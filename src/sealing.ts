import type { MikroORM } from '@mikro-orm/postgresql';
import { type SealFigures, sealFigures } from './audit/seal-figures.ts';
import { readSealKeys } from './audit/seal-keys.ts';
import { BATCH, sealRows } from './audit/seal-rows.ts';
import type { Config } from './config.ts';
import { seldom } from './db/seldom.ts';
import { forkFor } from './db/statement.ts';
import type { Job } from './jobs/job.ts';
import type { Logger } from './log.ts';

const HOUR_MS = 3_600_000;
/** What operators are told where there are no keys. */
export const NOT_SEALED =
  'AUDIT_KEYS_FILE is missing: the audit log is not sealed, and who owns the database can change it unseen. Make a file with: npm run create-audit-keys -- audit-keys.json';

/** The job that seals the audit log, where there are keys for it. Throws an Error naming AUDIT_KEYS_FILE when they can't be used. */
export async function sealing({ auditKeysFile }: Pick<Config, 'auditKeysFile'>, log: Logger): Promise<readonly Job[]> {
  if (!auditKeysFile) {
    log.warn(NOT_SEALED);
    return [];
  }
  await readSealKeys(auditKeysFile);
  return [sealingWith(auditKeysFile, log)];
}

/**
 * Seals a batch in each step, with the keys that are in the file then. Each seal is told in the log, where whoever owns the
 * database can't take it back: number and root are what the end of the chain is compared with.
 */
export function sealingWith(keysFile: string, log: Pick<Logger, 'info'>): Job {
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

/** How far the audit log is sealed, asked of the database at most every five seconds; undefined without an answer in time. */
export function watchedSeals(orm: MikroORM): () => Promise<SealFigures | undefined> {
  return seldom<SealFigures | undefined>((signal) => sealFigures(forkFor(orm, signal)), undefined);
}
