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

/** Makes a page of rows of which one more than `size` was asked for: its presence tells that there is more. */
export function pageOf<Row, Cursor>(
  found: readonly Row[],
  size: number,
  cursorOf: (row: Row) => Cursor,
): Page<Row, Cursor> {
  const rows = found.slice(0, size);
  const last = rows.at(-1);
  return { rows, next: found.length > size && last !== undefined ? cursorOf(last) : undefined };
}
