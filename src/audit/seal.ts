import { createHash } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row, type Sql } from '../db/statement.ts';
import { canonical, micros } from './sealed-row.ts';

/** Bytes of a SHA-256. */
export const HASH_BYTES = 32;

/** What one seal vouches for: everything in it is under its root. Transactions and microseconds since 1970 are bigints. */
export interface Sealed {
  /** From 1, without gaps. */
  readonly number: number;
  /** Of the canonical form. */
  readonly version: number;
  /** The root of the seal before; zeros of the first. */
  readonly previousRoot: Buffer;
  /** How often transactions have begun to be counted anew, and from when on rows are of this count; undefined: always. */
  readonly era: number;
  readonly eraFrom: bigint | undefined;
  /** All rows of the transactions [xidFrom, xidEnd) of its era are in it. */
  readonly xidFrom: bigint;
  readonly xidEnd: bigint;
  /** No transaction from here on had begun. */
  readonly nextXid: bigint;
  readonly rowCount: number;
  readonly firstRecordedAt: bigint;
  readonly lastRecordedAt: bigint;
  /** The hashes of its rows by transaction, time and id, one after the other. */
  readonly leaves: Buffer;
  readonly sealedAt: bigint;
  readonly keyId: string;
}

/** A row of audit_seal. It is written once and never changed, so it is no entity. */
export interface Seal extends Sealed {
  readonly root: Buffer;
  readonly signature: Buffer;
}

/** The end of the chain, to be remembered elsewhere. */
export interface Head {
  readonly number: number;
  /** 64 hexadecimal digits. */
  readonly root: string;
}

const SEAL = Buffer.from('amrutam audit seal 1\n');
const SIGNED = Buffer.from('amrutam audit root 1\n');

/** SHA-256 of what a seal vouches for, version 1: each field as a text of the canonical form, the leaves as their own SHA-256. */
export function rootOf(sealed: Sealed): Buffer {
  const { previousRoot, eraFrom, leaves, keyId } = sealed;
  const numbers = [
    sealed.xidFrom,
    sealed.xidEnd,
    sealed.nextXid,
    sealed.rowCount,
    sealed.firstRecordedAt,
    sealed.lastRecordedAt,
    sealed.sealedAt,
  ];
  const fields = canonical([
    String(sealed.version),
    String(sealed.number),
    previousRoot.toString('hex'),
    String(sealed.era),
    eraFrom === undefined ? null : String(eraFrom),
    ...numbers.map(String),
    keyId,
    createHash('sha256').update(leaves).digest('hex'),
  ]);
  return createHash('sha256').update(SEAL).update(fields).digest();
}

/** The bytes that are signed. */
export function signedBytes(root: Buffer): Buffer {
  return Buffer.concat([SIGNED, root]);
}

/** As the columns of audit_seal come. */
interface Found {
  readonly number: number;
  readonly version: number;
  readonly previous_root: Buffer;
  readonly era: number;
  readonly era_from: string | null;
  readonly xid_from: string;
  readonly xid_end: string;
  readonly next_xid: string;
  readonly row_count: number;
  readonly first_recorded_at: string;
  readonly last_recorded_at: string;
  readonly leaves: Buffer;
  readonly sealed_at: string;
  readonly root: Buffer;
  readonly key_id: string;
  readonly signature: Buffer;
}

/** What is between SELECT and FROM to read what `sealOf` takes. */
export const sealColumns = sql`number, version, previous_root, era, ${micros('era_from')} AS era_from, xid_from::text AS xid_from,
  xid_end::text AS xid_end, next_xid::text AS next_xid, row_count, ${micros('first_recorded_at')} AS first_recorded_at,
  ${micros('last_recorded_at')} AS last_recorded_at, leaves, ${micros('sealed_at')} AS sealed_at, root, key_id, signature`;

export function sealOf(found: object): Seal {
  const of = found as Found;
  return {
    number: of.number,
    version: of.version,
    previousRoot: of.previous_root,
    era: of.era,
    eraFrom: of.era_from === null ? undefined : BigInt(of.era_from),
    xidFrom: BigInt(of.xid_from),
    xidEnd: BigInt(of.xid_end),
    nextXid: BigInt(of.next_xid),
    rowCount: of.row_count,
    firstRecordedAt: BigInt(of.first_recorded_at),
    lastRecordedAt: BigInt(of.last_recorded_at),
    leaves: of.leaves,
    sealedAt: BigInt(of.sealed_at),
    root: of.root,
    keyId: of.key_id,
    signature: of.signature,
  };
}

/** Puts a seal behind the last one; answers whether its number was free. */
export async function addSeal(em: EntityManager, seal: Seal): Promise<boolean> {
  const added = await row(
    em,
    sql`INSERT INTO audit_seal (number, version, previous_root, era, era_from, xid_from, xid_end, next_xid, row_count,
          first_recorded_at, last_recorded_at, leaves, sealed_at, root, key_id, signature)
        VALUES (${seal.number}, ${seal.version}, ${seal.previousRoot}, ${seal.era},
          ${seal.eraFrom === undefined ? sql`NULL` : instantOf(seal.eraFrom)}, ${xid8(seal.xidFrom)}, ${xid8(seal.xidEnd)},
          ${xid8(seal.nextXid)}, ${seal.rowCount}, ${instantOf(seal.firstRecordedAt)}, ${instantOf(seal.lastRecordedAt)},
          ${seal.leaves}, ${instantOf(seal.sealedAt)}, ${seal.root}, ${seal.keyId}, ${seal.signature})
        ON CONFLICT (number) DO NOTHING RETURNING 1`,
  );
  return added !== undefined;
}

/** Microseconds since 1970 as an instant of the database, by operators of exactly these types. */
export const instantOf = (at: bigint): Sql =>
  sql`('epoch'::timestamptz + ${String(at)}::double precision * interval '1 microsecond')`;

/** The number of a transaction as the database has it. */
export const xid8 = (xid: bigint): Sql => sql`${String(xid)}::xid8`;

/** Rows of one count of transactions. */
export interface Era {
  /** Recorded from then on, and before then; undefined: without such an end. Microseconds since 1970. */
  readonly from: bigint | undefined;
  readonly until: bigint | undefined;
}

/** The condition of rows of an era, of the transactions [from, until). */
export function ofTransactions(era: Era, from: bigint, until?: bigint): Sql {
  return sql`xid >= ${xid8(from)}${until === undefined ? sql`` : sql` AND xid < ${xid8(until)}`}${
    era.from === undefined ? sql`` : sql` AND recorded_at >= ${instantOf(era.from)}`
  }${era.until === undefined ? sql`` : sql` AND recorded_at < ${instantOf(era.until)}`}`;
}

/** The order of rows in a seal: by the columns themselves, which as texts would have another. */
export const sealedOrder = sql`audit_event.xid, audit_event.recorded_at, audit_event.id`;
