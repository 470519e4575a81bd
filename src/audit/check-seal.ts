import { HASH_BYTES, rootOf, type Seal } from './seal.ts';
import type { SealKeys } from './seal-keys.ts';
import { problem, type SealProblem } from './seal-problem.ts';
import { FORM, leafOf, type SealedRow } from './sealed-row.ts';

/** Microseconds for which the log is kept: six years. What is older may have been taken away, from the oldest on. */
export const KEPT = BigInt(6 * 365.25 * 86_400_000_000);
/** Microseconds by which a month that goes as a whole may be younger. */
const MONTH = BigInt(31 * 86_400_000_000);
/** Microseconds by which the clocks of two servers may differ, one of which took over from the other. */
const SKEW = BigInt(5 * 60_000_000);

/** What stands before a seal, and when it is looked at. */
export interface SealContext {
  readonly before: Seal | undefined;
  readonly keys: Pick<SealKeys, 'verifies'>;
  /** Before anything in the seal had begun; undefined when nothing is known. Microseconds since 1970, as the next. */
  readonly notBefore: bigint | undefined;
  readonly now: bigint;
}

/** What is wrong with a seal itself: its place in the chain, its signature, the times in it. */
export function checkSeal(seal: Seal, { before, keys, notBefore, now }: SealContext): SealProblem | undefined {
  const { number, keyId } = seal;
  const wrong = (flaw: SealProblem['flaw'], what: string) => problem(flaw, number, what);
  if (before ? number !== before.number + 1 : number > 1 && now - seal.sealedAt < KEPT - MONTH)
    return wrong('MISSING_SEAL', `seal ${(before?.number ?? 0) + 1} is missing: the next one is ${number}`);
  const follows = before ? before.root : number === 1 ? Buffer.alloc(HASH_BYTES) : seal.previousRoot;
  if (!seal.previousRoot.equals(follows))
    return wrong('BROKEN_CHAIN', `seal ${number} does not continue the seal before it, which was replaced or changed`);
  if (seal.version !== FORM)
    return wrong('BAD_SIGNATURE', `seal ${number} is of version ${seal.version}, which this build does not know`);
  const signed = keys.verifies(keyId, seal.root, seal.signature);
  if (signed === undefined)
    return wrong(
      'UNKNOWN_KEY',
      `seal ${number} is signed by ${JSON.stringify(keyId)}, which is not in the file of keys`,
    );
  if (!signed) return wrong('BAD_SIGNATURE', `the signature of seal ${number} is not of its key`);
  if (!rootOf(seal).equals(seal.root))
    return wrong('BAD_SIGNATURE', `what seal ${number} says was changed: it has another root than the one signed`);
  if (!goesOn(seal, before))
    return wrong('BROKEN_CHAIN', `seal ${number} does not begin at the transaction where the one before ends`);
  if (
    (notBefore !== undefined && seal.firstRecordedAt < notBefore - SKEW) ||
    seal.lastRecordedAt > seal.sealedAt + SKEW
  )
    return wrong(
      'BACK_DATED_ROW',
      `rows of seal ${number} say ${when(seal.firstRecordedAt)} to ${when(seal.lastRecordedAt)}, but were written between ${
        notBefore === undefined ? 'the beginning' : when(notBefore)
      } and ${when(seal.sealedAt)}`,
    );
  return undefined;
}

function goesOn({ number, era, eraFrom, xidFrom }: Seal, before: Seal | undefined): boolean {
  if (!before) return number > 1 || (era === 1 && eraFrom === undefined && xidFrom === 0n);
  if (era === before.era) return eraFrom === before.eraFrom && xidFrom === before.xidEnd;
  return era === before.era + 1 && xidFrom === 0n && eraFrom !== undefined && eraFrom > (before.eraFrom ?? -1n);
}

/** What is wrong with the rows of a seal, which are those that are there of its transactions; their order is that of seals. */
export function checkRows(seal: Seal, rows: readonly SealedRow[], now: bigint): SealProblem | undefined {
  const leaves = rows.map(leafOf);
  if (Buffer.concat(leaves).equals(seal.leaves)) return undefined;
  const sealed = new Map<string, number>();
  for (let at = 0; at < seal.leaves.length; at += HASH_BYTES) {
    const leaf = seal.leaves.toString('hex', at, at + HASH_BYTES);
    sealed.set(leaf, (sealed.get(leaf) ?? 0) + 1);
  }
  const others = rows.filter((_, i) => {
    const leaf = leaves[i]?.toString('hex') ?? '';
    const left = sealed.get(leaf) ?? 0;
    sealed.set(leaf, left - 1);
    return left < 1;
  });
  const ids = others.map(({ id }) => id);
  const missing = seal.rowCount - (rows.length - others.length);
  const { number, rowCount } = seal;
  if (rows.length > rowCount)
    return problem(
      'EXTRA_ROW',
      number,
      `${others.length} or more rows were put among the ${rowCount} of seal ${number}`,
      ids,
    );
  if (others.length > 0)
    return problem(
      'CHANGED_ROW',
      number,
      `${missing} of the ${rowCount} rows of seal ${number} are not as they were sealed, and ${others.length} are there instead`,
      ids,
    );
  if (now - seal.firstRecordedAt >= KEPT) return undefined; // its month has gone, as it may
  return problem('MISSING_ROW', number, `${missing} of the ${rowCount} rows of seal ${number} are missing`);
}

/** In UTC. */
function when(at: bigint): string {
  return new Date(Number(at / 1000n)).toISOString();
}
