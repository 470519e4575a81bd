import type { Call } from '../caller.ts';
import type { Fault } from '../fault.ts';
import { sql } from './sql.ts';
import { rows } from './statement.ts';
import { inTransaction } from './transaction.ts';
import type { UnitsOfWorkOptions } from './unit-of-work.ts';
import type { Subject } from './work.ts';

/** A refusal that changed nothing and isn't kept, and what it was about. */
export interface Denial {
  readonly call: Call;
  readonly subject: Subject;
  readonly denial: Fault;
}

/** Puts a denial on record, in a transaction of its own: what was asked has been rolled back. */
export function recordDenial(
  { orm, recordEvent }: UnitsOfWorkOptions,
  { call, subject, denial }: Denial,
): Promise<void> {
  const record = { call, subject, requestId: undefined, refusal: denial, changed: [] };
  return inTransaction(orm, call.signal, async (em) => {
    await rows(em, recordEvent(record, sql`TRUE`));
  });
}
