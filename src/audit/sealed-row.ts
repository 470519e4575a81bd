import { createHash } from 'node:crypto';
import { sql } from '../db/sql.ts';

/** The version of the canonical form that seals are made with; a seal says which is its own. */
export const FORM = 1;

/** The columns of audit_event in the order of the canonical form. */
export const COLUMNS = [
  'id',
  'recorded_at',
  'actor_id',
  'actor_role',
  'session_id',
  'action',
  'outcome',
  'reason',
  'entity_type',
  'entity_id',
  'patient_id',
  'request_id',
  'trace_id',
  'client_address',
  'instance',
  'changed_fields',
  'xid',
] as const;

/** A value of the canonical form: numbers, ids and times are texts, times in microseconds since 1970. */
export type Value = string | null | readonly (string | null)[];

/** A row of audit_event as it is sealed. */
export type SealedRow = Readonly<Record<(typeof COLUMNS)[number], Value>> & {
  readonly id: string;
  readonly recorded_at: string;
  readonly xid: string;
};

/**
 * An instant of the database in microseconds since 1970, as text. Types are those of the operator, exactly: one for others could be
 * made in any schema, and would be taken.
 */
export const micros = (column: string) =>
  sql`(extract(epoch FROM ${sql.ref(column)}) * 1000000::numeric)::bigint::text`;

/** Reads SealedRows: what is between SELECT and FROM. */
export const sealedColumns = sql.join(
  COLUMNS.map((name) => {
    if (name === 'recorded_at') return sql`${micros(name)} AS ${sql.ref(name)}`;
    return name === 'changed_fields' ? sql.ref(name) : sql`${sql.ref(name)}::text AS ${sql.ref(name)}`;
  }),
);

const ROW = Buffer.from('amrutam audit row 1\n');

/** SHA-256 of a row in its canonical form, version 1. */
export function leafOf(row: SealedRow): Buffer {
  const values = COLUMNS.map((name) => row[name]);
  return createHash('sha256')
    .update(Buffer.concat([ROW, canonical(values)]))
    .digest();
}

/**
 * Values one after the other, so that different ones never give the same bytes: 0 for null; 1, the length and UTF-8 of a text; 2,
 * the count and the elements of a list. Lengths and counts are unsigned, of 32 bits, the highest byte first.
 */
export function canonical(values: readonly Value[]): Buffer {
  const bytes = Buffer.allocUnsafe(values.reduce<number>((sum, value) => sum + sizeOf(value), 0));
  let at = 0;
  const head = (kind: number, count: number) => {
    at = bytes.writeUInt32BE(count, bytes.writeUInt8(kind, at));
  };
  const write = (value: Value) => {
    if (value === null) {
      at = bytes.writeUInt8(0, at);
    } else if (typeof value === 'string') {
      head(1, Buffer.byteLength(value));
      at += bytes.write(value, at);
    } else {
      head(2, value.length);
      for (const one of value) write(one);
    }
  };
  for (const value of values) write(value);
  return bytes;
}

function sizeOf(value: Value): number {
  if (value === null) return 1;
  if (typeof value === 'string') return 5 + Buffer.byteLength(value);
  return value.reduce<number>((sum, one) => sum + sizeOf(one), 5);
}
