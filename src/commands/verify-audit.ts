import type { MikroORM } from '@mikro-orm/postgresql';
import type { Head } from '../audit/seal.ts';
import { sealFigures } from '../audit/seal-figures.ts';
import { readSealKeys } from '../audit/seal-keys.ts';
import type { SealProblem } from '../audit/seal-problem.ts';
import { checkHead, verifySeals } from '../audit/verify-seals.ts';
import { readConfig } from '../config.ts';
import { openDatabase } from '../database.ts';
import { allowStatements } from '../db/statement.ts';
import { inTransaction } from '../db/transaction.ts';
import { command } from './command.ts';

const USAGE =
  'Usage: npm run verify-audit, or npm run verify-audit -- --head NUMBER:ROOT with what an instance once logged as "the audit log is sealed"';
/** Milliseconds for each stretch of the chain. */
const PATIENCE_MS = 60_000;

/** npm run verify-audit [-- --head NUMBER:ROOT]: computes all seals of the audit log anew; exits with 1 and says what is wrong. */
await command(async () => {
  const head = headOf(process.argv.slice(2));
  const config = readConfig({ serving: false });
  if (!config.auditKeysFile)
    throw new Error('AUDIT_KEYS_FILE is missing: it must name the file of the keys that seal the audit log.');
  const database = await openDatabase({ ...config, databasePool: 1 }, { share: true });
  try {
    return await verified(database.orm, config.auditKeysFile, head);
  } finally {
    await database.close();
  }
});

async function verified(orm: MikroORM, keysFile: string, head: Head | undefined): Promise<string> {
  const keys = await readSealKeys(keysFile);
  const asked = <T>(work: Parameters<typeof inTransaction<T>>[2]) =>
    inTransaction(orm, AbortSignal.timeout(PATIENCE_MS), async (em) => {
      await allowStatements(em, PATIENCE_MS);
      return work(em);
    });
  const lost = head && (await asked((em) => checkHead(em, head)));
  if (lost) throw new Error(told(lost));
  let [rows, first, last]: [number, number | undefined, number | undefined] = [0, undefined, undefined];
  for (let from: number | undefined = 1; from !== undefined; ) {
    const stretch = await asked((em) => verifySeals(em, keys, { from: from ?? 1 }));
    rows += stretch.rows;
    first ??= stretch.first;
    last = stretch.last ?? last;
    if (stretch.problem)
      throw new Error(`${told(stretch.problem)}\nGood before that: ${rows} rows, ${span(first, last)}.`);
    from = stretch.next;
  }
  const { head: end, unsealed, waiting } = await asked(sealFigures);
  const since = waiting ? `, the oldest of ${waiting.since.toISOString()}` : '';
  return [
    `The audit log is as it was sealed: ${rows} rows, ${span(first, last)}. Not sealed yet: ${unsealed} rows${since}.`,
    ...(end ? [`Remember this, not in the database: --head ${end.number}:${end.root}`] : []),
  ].join('\n');
}

function span(first: number | undefined, last: number | undefined): string {
  return first === undefined ? 'no seal' : `seals ${first} to ${last}`;
}

function told({ flaw, seal, what, eventIds }: SealProblem): string {
  const ids = eventIds.length ? `\nRows: ${eventIds.join(', ')}` : '';
  return `THE AUDIT LOG IS NOT AS IT WAS SEALED: ${flaw} at seal ${seal}: ${what}.${ids}\nWhat to do: docs/runbook/audit-seals-gone.md`;
}

function headOf(args: readonly string[]): Head | undefined {
  if (args.length === 0) return undefined;
  const [, number, root] = /^(\d{1,15}):([\da-f]{64})$/i.exec(args[1] ?? '') ?? [];
  if (args[0] !== '--head' || args.length > 2 || !number || !root) throw new Error(USAGE);
  return { number: Number(number), root };
}
