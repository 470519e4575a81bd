/** What a moment of the database shows: PostgreSQL's pg_snapshot. */
export interface Snapshot {
  /** Every transaction below is over. */
  readonly xmin: bigint;
  /** No transaction from here on has begun. */
  readonly xmax: bigint;
  /** Those between that were not over. */
  readonly inProgress: ReadonlySet<bigint>;
}

const TEXT = /^(\d{1,20}):(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)$/;

/** Reads `xmin:xmax:xip,xip…`, as pg_current_snapshot() is written; undefined when it is none. */
export function parseSnapshot(text: string): Snapshot | undefined {
  const [, xmin, xmax, between] = TEXT.exec(text) ?? [];
  if (xmin === undefined || xmax === undefined) return undefined;
  return { xmin: BigInt(xmin), xmax: BigInt(xmax), inProgress: new Set(between ? between.split(',').map(BigInt) : []) };
}

/** Writes it so that `parseSnapshot` and PostgreSQL read it. */
export function snapshotText({ xmin, xmax, inProgress }: Snapshot): string {
  return `${xmin}:${xmax}:${[...inProgress].join(',')}`;
}

/** Whether everything that `earlier` shows is shown by `later` too. */
export function seesAllOf(later: Snapshot, earlier: Snapshot): boolean {
  if (later.xmax < earlier.xmax) return false;
  return [...later.inProgress].every((xid) => xid >= earlier.xmax || earlier.inProgress.has(xid));
}
