import type { EntityManager } from '@mikro-orm/postgresql';

/** Does a part of a job in one transaction, of at most STEP_MS. Rejects when this run is no longer the one that may. */
export type Step = <T>(work: (em: EntityManager) => Promise<T>) => Promise<T>;

/** What is to be done again and again, by whichever instance comes first. */
export interface Job {
  /** Under which it is queued; a name that was released never changes its meaning. */
  readonly name: string;
  /** When it is due, as a crontab has it, in UTC. */
  readonly schedule: string;
  /** Milliseconds for which it stays due when no instance was there. */
  readonly overdueMs: number;
  /**
   * Does it in steps, each of which may be the last: the process may be killed in between, and then it is done again from the
   * start, elsewhere. Answers how many things were changed.
   */
  run(step: Step): Promise<number>;
}
