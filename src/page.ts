/** A stretch of a listing. `after` is the place of the last row of the page before, in the listing's own order. */
export interface PageAsk<Cursor> {
  readonly size: number;
  readonly after: Cursor | undefined;
}

/** Rows of one page, and the place after which the next one goes on; undefined on the last page. */
export interface Page<Row, Cursor> {
  readonly rows: readonly Row[];
  readonly next: Cursor | undefined;
}

/** Bytes of one page, as JSON: what an answer may have at most, 1 MiB, with room for what a message adds to its rows. */
const LARGEST = 768 * 1024;

/**
 * Makes a page of rows of which one more than `size` was asked for: its presence tells that there is more. A page whose rows
 * are large ends early, for an answer has 1 MiB at most.
 */
export function pageOf<Row, Cursor>(
  found: readonly Row[],
  size: number,
  cursorOf: (row: Row) => Cursor,
): Page<Row, Cursor> {
  const rows = found.slice(0, Math.min(size, fitting(found)));
  const last = rows.at(-1);
  return { rows, next: found.length > rows.length && last !== undefined ? cursorOf(last) : undefined };
}

/** How many of the rows fit; one always does. */
function fitting(rows: readonly unknown[]): number {
  let bytes = 0;
  const over = rows.findIndex((row) => {
    bytes += bytesOf(row, 3);
    return bytes > LARGEST;
  });
  return over === -1 ? rows.length : Math.max(1, over);
}

/** About as many as JSON has for a value nested `depth` deep; only texts can be long. */
function bytesOf(value: unknown, depth: number): number {
  if (typeof value === 'string') return Buffer.byteLength(JSON.stringify(value)) + 20;
  if (typeof value !== 'object' || value === null || depth === 0) return 40;
  return Object.values(value).reduce<number>((sum, one) => sum + bytesOf(one, depth - 1), 40);
}
