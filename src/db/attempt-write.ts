import type { Call } from '../caller.ts';
import { Fault } from '../fault.ts';
import { createWork } from './create-work.ts';
import { inTransaction } from './transaction.ts';
import type { UnitsOfWorkOptions } from './unit-of-work.ts';
import type { Work } from './work.ts';
import { writeChanges } from './write-changes.ts';

/** One try at a change without a request_id; see UnitsOfWork.write. */
export async function attemptWrite<T>(
  options: UnitsOfWorkOptions,
  call: Call,
  verb: (work: Work) => Promise<T | Fault>,
): Promise<T> {
  const outcome = await inTransaction(options.orm, call.signal, async (em) => {
    const work = createWork(em, call, undefined, options.shiftMs);
    const write = (refusal: Fault | undefined) =>
      writeChanges(em, undefined, (won, changed) =>
        work.subject
          ? [options.recordEvent({ call, subject: work.subject, requestId: undefined, refusal, changed }, won)]
          : [],
      );
    try {
      const result = await verb(work);
      await write(result instanceof Fault ? result : undefined);
      return result;
    } catch (error) {
      if (!(error instanceof Fault && work.subject)) throw error;
      em.clear();
      await write(error);
      return error;
    }
  });
  if (outcome instanceof Fault) throw outcome;
  return outcome;
}
