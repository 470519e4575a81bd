import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { allowStatements, forkFor, row, rows } from '../db/statement.ts';
import { inTransaction } from '../db/transaction.ts';
import type { Step } from './job.ts';

/** The right to be the one who does a job: of one run at a time, for as long as it shows signs of life. */
export interface Lease {
  /** Shows one, and does its work in a transaction during which nobody can take the lease over. Rejects when that has happened. */
  readonly step: Step;
  succeeded(): Promise<void>;
  failed(error: Error): Promise<void>;
  /** Gives it back; neither of both. */
  dropped(): Promise<void>;
}

export interface LeaseOptions {
  readonly orm: MikroORM;
  readonly job: string;
  /** Names this run among all of all instances. */
  readonly holder: string;
  /** Milliseconds without a sign of life after which another run may take it over. */
  readonly leaseMs: number;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/** Another run is at the job, or has taken it over. */
export class NotTheHolder extends Error {}

/** Milliseconds for one step: well below any lease. */
export const STEP_MS = 15_000;
/** Milliseconds for a statement about the lease itself. */
const SHORT_MS = 5_000;

/** Makes jobs known, which must be done before any lease on them can be taken. */
export async function registerJobs(orm: MikroORM, names: readonly string[]): Promise<void> {
  await rows(
    forkFor(orm, AbortSignal.timeout(SHORT_MS)),
    sql`INSERT INTO job (name, seen_at, failures) SELECT name, now(), 0 FROM unnest(${names}::text[]) AS name ON CONFLICT DO NOTHING`,
  );
}

/** Takes the lease on a job that is known. Throws NotTheHolder while another run has it. */
export async function takeLease({ orm, job, holder, leaseMs, signal }: LeaseOptions): Promise<Lease> {
  const em = () => forkFor(orm, AbortSignal.timeout(SHORT_MS));
  // A row that is locked is that of a run in the middle of a step.
  const taken = await row(
    em(),
    sql`UPDATE job SET holder = ${holder}, seen_at = now() WHERE name = (
          SELECT name FROM job WHERE name = ${job} AND (holder IS NULL OR ${isOver(leaseMs)}) FOR UPDATE SKIP LOCKED)
        RETURNING 1`,
  );
  if (!taken) throw new NotTheHolder(`another run is at ${job}`);
  const mine = sql`name = ${job} AND holder = ${holder}`;
  return {
    step: (work) =>
      inTransaction(orm, AbortSignal.any([signal, AbortSignal.timeout(STEP_MS)]), async (em) => {
        await allowStatements(em, STEP_MS);
        await mustHold(em, job, holder);
        return work(em);
      }),
    async succeeded() {
      await rows(
        em(),
        sql`UPDATE job SET holder = NULL, seen_at = now(), succeeded_at = now(), failures = 0 WHERE ${mine}`,
      );
    },
    async failed({ message }) {
      await rows(
        em(),
        sql`UPDATE job SET holder = NULL, seen_at = now(), failed_at = now(), failures = failures + 1, error = ${message} WHERE ${mine}`,
      );
    },
    async dropped() {
      await rows(em(), sql`UPDATE job SET holder = NULL, seen_at = now() WHERE ${mine}`);
    },
  };
}

/** Whether a lease has come to its end without having been given back. */
export function isOver(leaseMs: number) {
  return sql`seen_at < now() - ${leaseMs} * interval '1 millisecond'`;
}

/** The row stays locked until the transaction ends. */
async function mustHold(em: EntityManager, job: string, holder: string): Promise<void> {
  const held = await row(
    em,
    sql`UPDATE job SET seen_at = now() WHERE name = ${job} AND holder = ${holder} RETURNING 1`,
  );
  if (!held) throw new NotTheHolder(`another run has taken over ${job}`);
}
