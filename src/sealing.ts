import type { MikroORM } from '@mikro-orm/postgresql';
import type { Head } from './audit/seal.ts';
import { type SealFigures, sealFigures } from './audit/seal-figures.ts';
import { readSealKeys } from './audit/seal-keys.ts';
import { BATCH, sealRows } from './audit/seal-rows.ts';
import { checkHead } from './audit/verify-seals.ts';
import type { Config } from './config.ts';
import { queueJob } from './db/queue-job.ts';
import { seldom } from './db/seldom.ts';
import { forkFor } from './db/statement.ts';
import type { Job } from './jobs/job.ts';
import type { Logger } from './log.ts';

const HOUR_MS = 3_600_000;
const SEALING = 'seal-audit-log';
/** Milliseconds after which other jobs get their turn, where much waits to be sealed; then this one goes on. */
const TURN_MS = 20_000;
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
 * database can't take it back: number and root are what the end of the chain is compared with. Whoever has made a seal looks, before
 * the next one, whether it is still there, and tells when it isn't.
 */
export function sealingWith(keysFile: string, log: Pick<Logger, 'info' | 'error'>, turnMs = TURN_MS): Job {
  let remembered: Head | undefined;
  return {
    name: SEALING,
    schedule: '* * * * *',
    overdueMs: HOUR_MS,
    async run(step) {
      const keys = await readSealKeys(keysFile);
      const endsAt = performance.now() + turnMs;
      const mine = remembered;
      const lost = mine && (await step((em) => checkHead(em, mine)));
      if (lost)
        log.error({ seal: mine.number, root: mine.root }, `the audit log is not as it was sealed here: ${lost.what}`);
      remembered = lost ? undefined : mine;
      for (let sealed = 0; ; ) {
        const seal = await step((em) => sealRows(em, keys));
        if (!seal) return sealed;
        const { number, rowCount } = seal;
        const root = seal.root.toString('hex');
        log.info({ seal: number, root, rows: rowCount }, 'the audit log is sealed');
        remembered = { number, root };
        sealed += rowCount;
        if (rowCount < BATCH) return sealed;
        if (performance.now() > endsAt) {
          await step((em) => queueJob(em, SEALING));
          return sealed;
        }
      }
    },
  };
}

/** How far the audit log is sealed, asked of the database at most every five seconds; undefined without an answer in time. */
export function watchedSeals(orm: MikroORM): () => Promise<SealFigures | undefined> {
  return seldom<SealFigures | undefined>((signal) => sealFigures(forkFor(orm, signal)), undefined);
}
