import type { Call } from '../caller.ts';
import { Fault } from '../fault.ts';
import { createWork, withAhead } from './create-work.ts';
import { recordDenial } from './record-denial.ts';
import { inTransaction } from './transaction.ts';
import type { UnitsOfWorkOptions } from './unit-of-work.ts';
import type { Subject, Work } from './work.ts';
import { type ChangedEntity, writeChanges } from './write-changes.ts';

/** One try at a change without a request_id; see UnitsOfWork.write. */
export async function attemptWrite<T>(
  options: UnitsOfWorkOptions,
  call: Call,
  verb: (work: Work) => Promise<T | Fault>,
): Promise<T> {
  let subject: Subject | undefined;
  let thrown: Fault | undefined;
  let written: readonly ChangedEntity[] = [];
  const outcome = await inTransaction(options.orm, call.signal, async (em) => {
    const work = createWork(em, call, { shiftMs: options.shiftMs });
    const result = await verb(work).catch((error: unknown) => {
      if (error instanceof Fault) [thrown, subject] = [error, work.subject];
      throw error;
    });
    const refusal = result instanceof Fault ? result : undefined;
    await writeChanges(em, undefined, (won, last) => {
      const { entities, columns: changed } = withAhead(work, last);
      written = entities;
      const { subject } = work;
      const record = { call, subject: subject ?? {}, requestId: undefined, refusal, changed };
      return [...(subject ? [options.recordEvent(record, won)] : []), ...(options.copies?.note(entities, won) ?? [])];
    });
    return result;
  })
    .catch(async (error: unknown) => {
      // Rolled back, whatever the verb had written by itself: only the refusal is left to be told.
      if (error === thrown && thrown && subject) await recordDenial(options, { call, subject, denial: thrown });
      throw error;
    })
    .finally(() => options.copies?.changed(written));
  if (outcome instanceof Fault) throw outcome;
  return outcome;
}
