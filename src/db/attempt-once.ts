import { createHash } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import type { Call, Caller } from '../caller.ts';
import { Fault } from '../fault.ts';
import { checkCaller, type Standing, sessionLive } from './caller-standing.ts';
import { createWork, type OpenWork, withAhead } from './create-work.ts';
import { isViolation, toFault } from './database-error.ts';
import { ClaimLost } from './first-statement.ts';
import { recordDenial } from './record-denial.ts';
import { sql } from './sql.ts';
import { row, rows, type Sql } from './statement.ts';
import { inTransaction, StartOver } from './transaction.ts';
import type { Answer, Request, UnitsOfWorkOptions } from './unit-of-work.ts';
import type { Work } from './work.ts';
import { writeChanges } from './write-changes.ts';

/** Part of every fingerprint: changes when the meaning of the fields changes. */
const FINGERPRINT_VERSION = 1;

interface Attempt<T> {
  readonly call: Call;
  readonly request: Request;
  readonly crowded: boolean;
  readonly work: (work: Work) => Promise<T>;
  readonly encode: (result: T) => Uint8Array;
}

/** What the transaction came to: an answer, the refusal it has kept, or the error that a kept refusal is thrown as. */
export type Outcome = Answer | Error;

/** One try at a change with a request_id; see UnitsOfWork.once. An error that it answers is a refusal that was kept. */
export async function attemptOnce<T>(options: UnitsOfWorkOptions, attempt: Attempt<T>): Promise<Outcome> {
  const outcome = await tryOnce(options, attempt);
  if (outcome instanceof Fault && outcome.reason === 'REQUEST_ID_REUSED') {
    await recordDenial(options, { call: attempt.call, subject: {}, denial: outcome });
  }
  if (outcome instanceof StartOver) throw outcome;
  return outcome;
}

async function tryOnce<T>(options: UnitsOfWorkOptions, attempt: Attempt<T>): Promise<Outcome> {
  let work: OpenWork | undefined;
  try {
    return await inTransaction(options.orm, attempt.call.signal, (em) => {
      work = createWork(em, attempt.call, {
        claim: claimOf(attempt),
        crowded: attempt.crowded,
        shiftMs: options.shiftMs,
      });
      return claimAndDo(options, attempt, work);
    });
  } catch (violation) {
    if (violation instanceof Fault && options.codec.isDenial(violation)) {
      await recordDenial(options, { call: attempt.call, subject: work?.subject ?? {}, denial: violation });
    }
    if (!isViolation(violation)) throw violation;
    const subject = work?.subject ?? {};
    return tryOnce(options, { ...attempt, work: (second) => refuse(second, subject, toFault(violation)) });
  } finally {
    options.copies?.changed(work?.written ?? []);
  }
}

/** The transaction failed in its last statement: a second one claims again and keeps the refusal. */
async function refuse(work: Work, subject: Parameters<Work['about']>[0], fault: unknown): Promise<never> {
  work.about(subject);
  await work.lock({});
  throw fault;
}

async function claimAndDo<T>(options: UnitsOfWorkOptions, attempt: Attempt<T>, work: OpenWork): Promise<Outcome> {
  const { em } = work;
  try {
    const bytes = attempt.encode(await attempt.work(work));
    if (!(await finish(options, attempt, work, { code: 0, bytes }))) throw await work.whyLost();
    return { bytes, replayed: false };
  } catch (error) {
    if (error instanceof ClaimLost) return replay(options, attempt, em);
    const code = error instanceof Fault && work.locked ? options.codec.keptCode(error) : undefined;
    if (!(error instanceof Fault) || code === undefined) throw error;
    if (work.ahead) throw new Error('refused after something was written: it must not be kept', { cause: error });
    em.clear();
    await finish(options, attempt, work, { code, bytes: options.codec.refusalBytes(error), refusal: error });
    return error;
  }
}

interface Kept {
  readonly code: number;
  readonly bytes: Uint8Array;
  readonly refusal?: Fault;
}

/** Writes the changes, the line of the audit trail and the answer onto the claim, in one statement. */
function finish<T>(
  options: UnitsOfWorkOptions,
  { call, request }: Attempt<T>,
  work: OpenWork,
  kept: Kept,
): Promise<boolean> {
  const { requestId } = request;
  return writeChanges(work.em, kept.refusal ? undefined : work.contested, (won, last) => {
    const { entities, columns: changed } = withAhead(work, last);
    work.wrote(entities);
    return [
      options.recordEvent({ call, subject: work.subject ?? {}, requestId, refusal: kept.refusal, changed }, won),
      sql`UPDATE idempotency SET code = ${kept.code}, answer = ${Buffer.from(kept.bytes)}
          WHERE ${keyOf(call, requestId)} AND ${won}`,
      ...(options.copies?.note(entities, won) ?? []),
    ];
  });
}

interface KeptRow extends Standing {
  readonly fingerprint: Buffer;
  readonly code: number;
  readonly answer: Buffer;
  readonly stale: boolean;
}

/**
 * The answer that another try was given. The claim has already waited for it; a statement of its own sees it. It may be on no standby
 * yet (somebody has cancelled that wait, or the leader has started again): a lock is a change, for which COMMIT waits as for others.
 */
async function replay<T>(options: UnitsOfWorkOptions, attempt: Attempt<T>, em: EntityManager): Promise<Outcome> {
  const { call, request } = attempt;
  const { userId, sessionId, role } = call.caller as Caller;
  const found = await row<KeptRow>(
    em,
    sql`SELECT i.fingerprint, i.code, i.answer, i.created_at < clock_timestamp() - interval '7 days' AS stale, u.state AS user_state, u.role AS user_role,
          (SELECT ${sessionLive} FROM session WHERE id = ${sessionId} AND user_id = ${userId}) AS session_live
        FROM idempotency i JOIN app_user u ON u.id = i.caller_id WHERE ${keyOf(call, request.requestId)}
        FOR KEY SHARE OF i`,
  );
  if (!found) throw new StartOver('the other try was rolled back');
  checkCaller({ role }, found);
  if (found.stale) return forget(em, call, request.requestId);
  if (!found.fingerprint.equals(claimOf(attempt).fingerprint)) {
    return new Fault('REQUEST_ID_REUSED', 'the request_id was used for another request');
  }
  return found.code === 0 ? { bytes: found.answer, replayed: true } : options.codec.refusalFromBytes(found.answer);
}

/** After 7 days a request_id is new. Purging may be late; the next try finds the claim free. */
async function forget(em: EntityManager, call: Call, requestId: string): Promise<Outcome> {
  await rows(em, sql`DELETE FROM idempotency i WHERE ${keyOf(call, requestId)}`);
  return new StartOver('the request_id was used more than 7 days ago');
}

function keyOf({ caller, method }: Call, requestId: string): Sql {
  return sql`caller_id = ${caller?.userId} AND method = ${method} AND request_id = ${requestId}`;
}

/** Protobuf bytes aren't canonical, so the fingerprint is made of the fields themselves. */
function claimOf<T>({ call, request }: Attempt<T>) {
  const text = JSON.stringify([FINGERPRINT_VERSION, call.method, ...request.asks]);
  return { requestId: request.requestId, fingerprint: createHash('sha256').update(text).digest() };
}
