import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row, rows } from '../db/statement.ts';
import { checkRows, checkSeal } from './check-seal.ts';
import { checkTable } from './check-table.ts';
import { type Era, type Head, ofTransactions, type Seal, sealColumns, sealedOrder, sealOf } from './seal.ts';
import type { SealKeys } from './seal-keys.ts';
import { problem, type SealProblem } from './seal-problem.ts';
import { micros, type SealedRow, sealedColumns } from './sealed-row.ts';

/** Seals and rows that are looked at in one go: a few hundred milliseconds. */
const MOST = { seals: 100, rows: 5_000 };
/** Seals among which the one is looked for that says when a seal's transactions can have begun at the earliest. */
const LOOK_BACK = 1_000;

/** What was found of a stretch of the chain. */
export interface Verified {
  /** The first and the last seal that are good, and how many rows they have; undefined when there is none. */
  readonly first: number | undefined;
  readonly last: number | undefined;
  readonly rows: number;
  /** Where to go on; undefined when there is no more, or when something is wrong. */
  readonly next: number | undefined;
  readonly problem: SealProblem | undefined;
}

interface FoundSeal {
  readonly seal: Seal;
  readonly notBefore: bigint | undefined;
}

/**
 * Computes seals anew from the rows as they are now, some of them from the number `from` on (1: from the oldest that is kept), and
 * names the first that is not as it was made. Behind the last it looks at what no seal can ever have.
 */
export async function verifySeals(
  em: EntityManager,
  keys: Pick<SealKeys, 'verifies'>,
  { from, most = MOST.seals }: { readonly from: number; readonly most?: number },
): Promise<Verified> {
  const [before] = await sealsWhere(em, from, 'before');
  const found = shortened(await sealsWhere(em, from, 'on'), before?.seal).slice(0, most);
  // Not the database's time: whoever owns it could have it say any.
  const now = BigInt(Date.now()) * 1000n;
  const good: Seal[] = [];
  const verified = (next: number | undefined, wrong?: SealProblem): Verified => ({
    first: good.at(0)?.number,
    last: good.at(-1)?.number,
    rows: good.reduce((sum, { rowCount }) => sum + rowCount, 0),
    next,
    problem: wrong,
  });
  const replaced = await checkTable(em, before?.seal.number ?? 0);
  if (replaced) return verified(undefined, replaced);
  const first = found[0]?.seal;
  if (!first || !found.length) return verified(undefined, await checkEnd(em, before?.seal));
  const era = await eraOf(em, first);
  const rowsBelow = inOrder(await rowsOf(em, era, found));
  let last = before?.seal;
  for (const { seal, notBefore } of found) {
    const wrong =
      checkSeal(seal, { before: last, keys, notBefore, now }) ??
      (last && last.era !== seal.era ? await checkEndOfEra(em, last, seal) : undefined) ??
      checkRows(seal, rowsBelow(seal.xidEnd), now);
    if (wrong) return verified(undefined, wrong);
    good.push(seal);
    last = seal;
  }
  return verified((last?.number ?? 0) + 1);
}

/** Whether the seal that was remembered is still there. */
export async function checkHead(em: EntityManager, { number, root }: Head): Promise<SealProblem | undefined> {
  const found = await row<{ root: Buffer }>(em, sql`SELECT root FROM audit_seal WHERE number = ${number}`);
  if (found?.root.toString('hex') === root.toLowerCase()) return undefined;
  const what = found
    ? `seal ${number} has another root than remembered`
    : `seal ${number}, which is remembered, is gone`;
  return problem('HEAD_GONE', number, `${what}: the end of the log was taken away or replaced`);
}

async function sealsWhere(em: EntityManager, from: number, where: 'before' | 'on'): Promise<FoundSeal[]> {
  const range =
    where === 'on'
      ? sql`s.number >= ${from} ORDER BY s.number LIMIT ${MOST.seals}`
      : sql`s.number < ${from} ORDER BY s.number DESC LIMIT 1`;
  const found = await rows<{ readonly not_before: string | null }>(
    em,
    sql`SELECT ${sealColumns}, (SELECT ${micros('sealed_at')} FROM audit_seal p WHERE p.number < s.number AND p.number > s.number - ${LOOK_BACK}
          AND p.era = s.era AND p.next_xid <= s.xid_from ORDER BY p.number DESC LIMIT 1) AS not_before
        FROM audit_seal s WHERE ${range}`,
  );
  return found.map((one) => ({
    seal: sealOf(one),
    notBefore: one.not_before === null ? undefined : BigInt(one.not_before),
  }));
}

/** The seals of one era, as many as have few enough rows together: one at least. */
function shortened(found: readonly FoundSeal[], before: Seal | undefined): readonly FoundSeal[] {
  const era = found[0]?.seal.era;
  let sum = 0;
  let number = before?.number ?? (found[0]?.seal.number ?? 1) - 1;
  const over = found.findIndex(({ seal }, i) => {
    sum += seal.rowCount;
    const gap = seal.number !== number + 1;
    number = seal.number;
    return i > 0 && (sum > MOST.rows || seal.era !== era || gap);
  });
  return over === -1 ? found : found.slice(0, over);
}

async function eraOf(em: EntityManager, { era, eraFrom }: Seal): Promise<Era> {
  const next = await row<{ era_from: string | null }>(
    em,
    sql`SELECT ${micros('era_from')} AS era_from FROM audit_seal WHERE era = ${era + 1} AND xid_from = '0'::xid8`,
  );
  return { from: eraFrom, until: next?.era_from ? BigInt(next.era_from) : undefined };
}

/** The rows of the transactions that the seals span; of many more than there should be, enough to tell where they begin. */
function rowsOf(em: EntityManager, era: Era, found: readonly FoundSeal[]): Promise<SealedRow[]> {
  const [first, last] = [found.at(0)?.seal as Seal, found.at(-1)?.seal as Seal];
  const expected = found.reduce((sum, { seal }) => sum + seal.rowCount, 0);
  return rows<SealedRow>(
    em,
    sql`SELECT ${sealedColumns} FROM audit_event WHERE ${ofTransactions(era, first.xidFrom, last.xidEnd)}
        ORDER BY ${sealedOrder} LIMIT ${expected + 1}`,
  );
}

/** Answers, call for call, the next of the rows: those of transactions before an end. */
function inOrder(there: readonly SealedRow[]): (end: bigint) => readonly SealedRow[] {
  let at = 0;
  return (end) => {
    const from = at;
    for (let next = there[at]; next && BigInt(next.xid) < end; next = there[at]) at += 1;
    return there.slice(from, at);
  };
}

/** Rows of an era that has ended behind its last seal, where no seal will ever have them. */
async function checkEndOfEra(em: EntityManager, last: Seal, next: Seal): Promise<SealProblem | undefined> {
  const era = { from: last.eraFrom, until: next.eraFrom };
  const found = await someIds(em, ofTransactions(era, last.xidEnd));
  if (!found.length) return undefined;
  const what = `rows were put in behind seal ${last.number}, the last one before transactions were counted anew`;
  return problem('EXTRA_ROW', last.number, what, found);
}

/** Rows that no seal can ever have: of no transaction, of no time, or of a transaction that has not begun. */
async function checkEnd(em: EntityManager, last: Seal | undefined): Promise<SealProblem | undefined> {
  const outside = await someIds(em, sql`(xid IS NULL OR recorded_at IS NULL)`);
  if (outside.length)
    return problem('EXTRA_ROW', last?.number ?? 0, 'rows are there of no transaction, or of no time', outside);
  return checkBegun(em, last);
}

/** No row can be there of a transaction that has not begun, save in the moment before a new count is taken up. */
async function checkBegun(em: EntityManager, last: Seal | undefined): Promise<SealProblem | undefined> {
  const now = await row<{ next: string }>(em, sql`SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next`);
  if (last && BigInt(now?.next ?? 0) < last.xidEnd) return undefined;
  const era = { from: last?.eraFrom, until: undefined };
  const found = await someIds(em, sql`xid >= pg_snapshot_xmax(pg_current_snapshot()) AND ${ofTransactions(era, 0n)}`);
  if (!found.length) return undefined;
  return problem('EXTRA_ROW', last?.number ?? 0, 'rows are there of transactions that have not begun', found);
}

async function someIds(em: EntityManager, where: ReturnType<typeof sql>): Promise<string[]> {
  const found = await rows<{ id: string }>(em, sql`SELECT id FROM audit_event WHERE ${where} ORDER BY xid LIMIT 10`);
  return found.map(({ id }) => id);
}
