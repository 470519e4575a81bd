import { setTimeout as sleep } from 'node:timers/promises';
import { type EntityManager, IsolationLevel, type MikroORM } from '@mikro-orm/postgresql';
import { Fault } from '../fault.ts';
import { isDefinite, isRetryable, NOT_CONFIRMED, toFault } from './database-error.ts';
import { withPatience } from './patience.ts';
import { forkFor } from './statement.ts';
import { watched } from './watched.ts';

/** Tries at a transaction that deadlocks. */
const TRIES = 3;

/** Thrown to have the transaction begun again: what it waited for has vanished. */
export class StartOver extends Error {}

/**
 * Runs `work` in one READ COMMITTED transaction with an identity map of its own: committed when it resolves, rolled back
 * when it rejects. Until the COMMIT is sent, an aborted signal ends it, in the database too; afterwards nothing does.
 */
export async function inTransaction<T>(
  orm: MikroORM,
  signal: AbortSignal,
  work: (em: EntityManager) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const em = forkFor(orm, signal);
  await withPatience({ signal }, () => em.begin({ isolationLevel: IsolationLevel.READ_COMMITTED }));
  let result: T;
  try {
    result = await work(em);
    signal.throwIfAborted();
  } catch (error) {
    await em.rollback().catch(() => {}); // the connection is gone, and with it the transaction
    throw error;
  }
  await commit(em);
  return result;
}

async function commit(em: EntityManager): Promise<void> {
  em.clear(); // everything is written already: nothing may be left for MikroORM's own flush
  try {
    await watched(em, 'COMMIT', () => em.commit());
  } catch (error) {
    await em.rollback().catch(() => {}); // nothing else gives the connection back to the pool
    if (isDefinite(error)) throw error;
    throw new Fault('OUTCOME_UNKNOWN', NOT_CONFIRMED, { cause: error });
  }
}

/** Tries again, each time afresh, what lost against another transaction; other errors leave as refusals where they are some. */
export async function retrying<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await translated(signal, attempt);
    } catch (error) {
      const again = error instanceof StartOver || isRetryable((error as Error).cause);
      if (!again || tries === TRIES) throw error instanceof StartOver ? contention(error) : error;
      await sleep(5 + Math.random() * 20 * tries, undefined, { signal });
    }
  }
}

/** Runs `work`; errors of the driver become the refusals they stand for, and those of an aborted call its reason. */
export async function translated<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Fault) throw error;
    if (signal.aborted) throw signal.reason;
    throw toFault(error);
  }
}

function contention(cause: unknown): Fault {
  return new Fault('CONTENTION', 'other calls for the same records kept winning', { cause });
}
