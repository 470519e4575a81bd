/** What can be wrong with a seal, and with the rows that it vouches for. */
export type SealFlaw =
  | 'MISSING_ROW'
  | 'CHANGED_ROW'
  | 'EXTRA_ROW'
  | 'BACK_DATED_ROW'
  | 'MISSING_SEAL'
  | 'BROKEN_CHAIN'
  | 'UNKNOWN_KEY'
  | 'BAD_SIGNATURE'
  | 'HEAD_GONE'
  | 'REPLACED_TABLE';

/** The first thing that is wrong. */
export interface SealProblem {
  readonly flaw: SealFlaw;
  /** The number of the seal; of rows that belong to none, of the one before. */
  readonly seal: number;
  /** In words, for an operator. Holds no value of any row. */
  readonly what: string;
  /** Ids of rows that are not as they were sealed, as far as they are there; ten at most. */
  readonly eventIds: readonly string[];
}

/** Ids in a problem. */
const MOST_IDS = 10;

export function problem(flaw: SealFlaw, seal: number, what: string, eventIds: readonly string[] = []): SealProblem {
  return { flaw, seal, what, eventIds: eventIds.slice(0, MOST_IDS) };
}
