import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row, rows } from '../db/statement.ts';
import {
  addSeal,
  type Era,
  HASH_BYTES,
  ofTransactions,
  rootOf,
  type Seal,
  type Sealed,
  sealColumns,
  sealedOrder,
  sealOf,
} from './seal.ts';
import type { SealSigner } from './seal-keys.ts';
import { FORM, leafOf, micros, type SealedRow, sealedColumns } from './sealed-row.ts';

/** No transaction has such a number: of a count that has ended. */
const NEVER = 2n ** 64n - 1n;
/** Rows in one seal; more only where one transaction has written them. */
export const BATCH = 1_000;

/**
 * Seals the next rows of the audit log, those of the oldest transactions first; answers the seal, undefined when nothing is to
 * seal. Only transactions older than every one that runs are taken: all that they wrote can be seen, and no row can come later. A
 * transaction that stays open holds back what is younger, and loses nothing. Of two who do it at once one seals.
 */
export async function sealRows(em: EntityManager, signer: SealSigner, batch = BATCH): Promise<Seal | undefined> {
  const last = await lastSeal(em);
  const moment = await momentOf(em);
  // Backwards only where rows were carried into another server: what was committed here is older than what is sealed here.
  const anew = last !== undefined && moment.nextXid < last.xidEnd;
  const { nextXid } = moment;
  const ended = anew && { era: eraOf(last), from: last.xidEnd, until: undefined, nextXid: NEVER };
  const began = async () =>
    anew
      ? { era: await nextEra(em, last), from: 0n, until: moment.xmin, nextXid }
      : { era: eraOf(last), from: last?.xidEnd ?? 0n, until: moment.xmin, nextXid };
  const taken = (ended && (await take(em, ended, batch))) || (await take(em, await began(), batch));
  if (!taken) return undefined;
  const sealed: Sealed = {
    number: (last?.number ?? 0) + 1,
    version: FORM,
    previousRoot: last?.root ?? Buffer.alloc(HASH_BYTES),
    ...taken,
    sealedAt: moment.at,
    keyId: signer.kid,
  };
  const root = rootOf(sealed);
  const seal = { ...sealed, root, signature: signer.sign(root) };
  if (await addSeal(em, seal)) return seal;
  throw new Error(`seal ${seal.number} of the audit log was made by another meanwhile`);
}

async function lastSeal(em: EntityManager): Promise<Seal | undefined> {
  const found = await row<object>(em, sql`SELECT ${sealColumns} FROM audit_seal ORDER BY number DESC LIMIT 1`);
  return found && sealOf(found);
}

interface Moment {
  /** Every transaction below is over, and what it wrote can be seen from now on. */
  readonly xmin: bigint;
  /** No transaction from here on had begun. */
  readonly nextXid: bigint;
  readonly at: bigint;
}

async function momentOf(em: EntityManager): Promise<Moment> {
  const found = await row<{ xmin: string; next_xid: string; at: string }>(
    em,
    sql`SELECT pg_snapshot_xmin(moment)::text AS xmin, pg_snapshot_xmax(moment)::text AS next_xid, ${micros('at')} AS at
        FROM (SELECT pg_current_snapshot() AS moment, clock_timestamp() AS at) AS now`,
  );
  return { xmin: BigInt(found?.xmin ?? 0), nextXid: BigInt(found?.next_xid ?? 0), at: BigInt(found?.at ?? 0) };
}

interface NumberedEra extends Era {
  readonly number: number;
}

function eraOf(last: Seal | undefined): NumberedEra {
  return { number: last?.era ?? 1, from: last?.eraFrom, until: undefined };
}

/** Rows from now on are those recorded after everything that the last era has sealed. */
async function nextEra(em: EntityManager, { era }: Seal): Promise<NumberedEra> {
  const found = await row<{ latest: string }>(
    em,
    sql`SELECT ${micros('at')} AS latest FROM (SELECT max(last_recorded_at) AS at FROM audit_seal WHERE era = ${era}) AS ended`,
  );
  return { number: era + 1, from: BigInt(found?.latest ?? 0) + 1n, until: undefined };
}

interface Span {
  readonly era: NumberedEra;
  readonly from: bigint;
  /** Undefined: all that there are. */
  readonly until: bigint | undefined;
  /** No transaction of its era from here on had begun. */
  readonly nextXid: bigint;
}

type Taken = Omit<Sealed, 'number' | 'version' | 'previousRoot' | 'sealedAt' | 'keyId'>;

/** The first rows of a span, never a part of what one transaction wrote. */
async function take(em: EntityManager, span: Span, batch: number): Promise<Taken | undefined> {
  const { era, from } = span;
  const read = (first: bigint, until: bigint | undefined, most?: number) =>
    rows<SealedRow>(
      em,
      sql`SELECT ${sealedColumns} FROM audit_event WHERE ${ofTransactions(era, first, until)}
          ORDER BY ${sealedOrder}${most === undefined ? sql`` : sql` LIMIT ${most}`}`,
    );
  let found = await read(from, span.until, batch + 1);
  const last = found.at(Math.min(found.length, batch) - 1);
  if (!last) return undefined;
  const lastXid = BigInt(last.xid);
  const more = found.length > batch;
  if (more) found = [...found.filter(({ xid }) => BigInt(xid) < lastXid), ...(await read(lastXid, lastXid + 1n))];
  const times = found.map(({ recorded_at }) => BigInt(recorded_at));
  return {
    era: era.number,
    eraFrom: era.from,
    xidFrom: from,
    nextXid: span.nextXid,
    xidEnd: more ? lastXid + 1n : (span.until ?? lastXid + 1n),
    rowCount: found.length,
    firstRecordedAt: times.reduce((least, at) => (at < least ? at : least)),
    lastRecordedAt: times.reduce((most, at) => (at > most ? at : most)),
    leaves: Buffer.concat(found.map(leafOf)),
  };
}
