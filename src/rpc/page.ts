import { createHash } from 'node:crypto';
import { Fault } from '../fault.ts';

/** What a cursor's values are: `instant` is RFC 3339 in UTC with any number of decimals, `date` a day of the calendar, `number` a finite one. */
export type CursorKind = 'instant' | 'date' | 'uuid' | 'text' | 'number';

/** Values of the last row of a page, in the order of the sort. */
export type Cursor = readonly (string | number)[];

const VERSION = 1;
const INSTANT = /^(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const LONGEST_TOKEN = 1000;

const IS: Record<CursorKind, (value: unknown) => boolean> = {
  instant: (value) => typeof value === 'string' && INSTANT.test(value) && isOnTheCalendar(value),
  date: (value) => IS.instant(`${value}T00:00:00Z`),
  uuid: (value) => typeof value === 'string' && UUID.test(value),
  text: (value) => typeof value === 'string' && value.isWellFormed() && !value.includes('\0'),
  number: (value) => typeof value === 'number' && Number.isFinite(value),
};

/** The opaque token of the page after `cursor`; it counts only for `query`: everything asked but page size and token. */
export function encodePage(query: unknown, cursor: Cursor): string {
  const bytes = Buffer.concat([Buffer.from([VERSION]), fingerprint(query), Buffer.from(JSON.stringify(cursor))]);
  return bytes.toString('base64url');
}

/**
 * The cursor in a token; undefined when the token is empty. Throws PAGE_TOKEN_INVALID unless `encodePage` could have made
 * it for `query` with values of the kinds in `shape`: whoever forges one gets no further than with an honest query.
 */
export function decodePage(query: unknown, token: string, shape: readonly CursorKind[]): Cursor | undefined {
  if (token === '') return undefined;
  const bytes = Buffer.from(token, 'base64url');
  const [version, hash, cursor] = [bytes[0], bytes.subarray(1, 9), parsed(bytes.subarray(9))];
  const honest =
    token.length <= LONGEST_TOKEN &&
    bytes.toString('base64url') === token &&
    version === VERSION &&
    hash.equals(fingerprint(query));
  if (!honest || !isCursor(cursor, shape)) throw new Fault('PAGE_TOKEN_INVALID', 'the page token is not of this query');
  return cursor;
}

/** How many rows a page gets: 50 when nothing is asked, 250 at most. */
export function pageSize(asked: number): number {
  if (asked <= 0) return 50;
  return Math.min(asked, 250);
}

function isCursor(value: unknown, shape: readonly CursorKind[]): value is Cursor {
  return Array.isArray(value) && value.length === shape.length && shape.every((kind, i) => IS[kind](value[i]));
}

/** Date.parse moves the 30th of February into March. */
function isOnTheCalendar(instant: string): boolean {
  const ms = Date.parse(instant);
  return !Number.isNaN(ms) && new Date(ms).toISOString().slice(0, 19) === instant.slice(0, 19);
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

function fingerprint(query: unknown): Buffer {
  return createHash('sha256')
    .update(JSON.stringify(canonical(query)) ?? '')
    .digest()
    .subarray(0, 8);
}

/** The same for the same query: keys sorted, absent ones left out, and what JSON lacks written as text with its type. */
function canonical(value: unknown): unknown {
  if (typeof value === 'bigint') return `bigint ${value}`;
  if (value instanceof Date) return `date ${value.toISOString()}`;
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, member]) => [key, canonical(member)]),
  );
}
