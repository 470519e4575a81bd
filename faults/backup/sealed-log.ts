import { sealFigures } from '../../src/audit/seal-figures.ts';
import { readSealKeys } from '../../src/audit/seal-keys.ts';
import { sealRows } from '../../src/audit/seal-rows.ts';
import { forkFor } from '../../src/db/statement.ts';
import { inTransaction } from '../../src/db/transaction.ts';
import { runCommand } from '../../test/support/process-service.ts';
import type { Clinic } from '../clinic.ts';

const SEAL_MS = 30_000;

/** Seals what has been written to the audit log; answers the end of the chain as `verify-audit --head` takes it. */
export async function sealLog({ orm, auditKeysFile }: Clinic): Promise<string> {
  const keys = await readSealKeys(auditKeysFile);
  const signal = AbortSignal.timeout(SEAL_MS);
  while (await inTransaction(orm, signal, (em) => sealRows(em, keys)));
  const { head } = await sealFigures(forkFor(orm, signal));
  if (!head) throw new Error('nothing could be sealed');
  return `${head.number}:${head.root}`;
}

/** Throws unless the audit log is as it was sealed, up to that end at least, as an operator would find out. */
export async function mustBeAsSealed({ auditKeysFile }: Clinic, url: string, head: string): Promise<void> {
  const env = { DATABASE_URL: url, AUDIT_KEYS_FILE: auditKeysFile };
  const { code, output } = await runCommand('verify-audit', { args: ['--head', head], env });
  if (code !== 0) throw new Error(`the audit log is not as it was sealed:\n${output}`);
}
