import type { EntityManager } from '@mikro-orm/postgresql';
import type { Head } from './seal.ts';
import { type SealFigures, sealFigures } from './seal-figures.ts';
import type { SealKeys } from './seal-keys.ts';
import { checkHead, type Verified, verifySeals } from './verify-seals.ts';

/** What VerifyAuditLog asks for. */
export interface VerifyAsk {
  /** The first seal; 0: the oldest. */
  readonly from: number;
  readonly mostSeals: number;
  /** Milliseconds after which no further stretch is begun. */
  readonly enoughMs: number;
  /** What is remembered of the end of the chain. */
  readonly head: Head | undefined;
  readonly keys: Pick<SealKeys, 'verifies'>;
}

/** One short read of its own: what takes long is done in many, so that others get the connection in between. */
export type Read = <T>(work: (em: EntityManager) => Promise<T>) => Promise<T>;

/** Verifies a stretch of the chain, and looks for its remembered end. */
export async function verifyAuditLog(
  read: Read,
  { from, mostSeals, enoughMs, head, keys }: VerifyAsk,
): Promise<Verified & { readonly figures: SealFigures }> {
  const endsAt = performance.now() + enoughMs;
  const lost = head && (await read((em) => checkHead(em, head)));
  let found: Verified = { first: undefined, last: undefined, rows: 0, next: Math.max(1, from), problem: lost };
  let left = mostSeals;
  const goesOn = () => found.first === undefined || performance.now() < endsAt;
  while (!found.problem && found.next !== undefined && left > 0 && goesOn()) {
    const ask = { from: found.next, most: left };
    const more = await read((em) => verifySeals(em, keys, ask));
    left -= more.first === undefined || more.last === undefined ? 0 : more.last - more.first + 1;
    const { first = more.first, last, rows } = found;
    found = { ...more, first, last: more.last ?? last, rows: rows + more.rows };
  }
  const figures = await read(sealFigures);
  return { ...found, next: found.problem ? undefined : found.next, figures };
}
