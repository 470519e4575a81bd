import { setTimeout as sleep } from 'node:timers/promises';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { Fault } from '../fault.ts';
import { orAbort } from '../or-abort.ts';
import { failureOf, tracer, within } from '../tracing/tracer.ts';
import { isGone } from './database-error.ts';
import { createLine } from './line.ts';
import { checkSettings } from './orm.ts';
import { leaderPosition, type Position, readStanding } from './position.ts';
import { inTransaction } from './transaction.ts';

/** A streaming replica, for reads that decide nothing. */
export interface Replica {
  /**
   * Reads there what shows everything that was committed when this was called, exactly as a read of the database itself would. Undefined
   * when that can't be had there now: then the database is to be asked. Rejects with what `work` refuses, with OVERLOADED when too many
   * wait there, and with the reason of `signal`. The read may take `ms` milliseconds.
   */
  read<T>(
    signal: AbortSignal,
    work: (em: EntityManager) => Promise<T>,
    ms: number,
  ): Promise<{ readonly found: T } | undefined>;
  /** Whether reads go there now. */
  usable(): boolean;
  stop(): void;
}

export interface ReplicaOptions {
  /** At the replica. */
  readonly orm: MikroORM;
  /** At the leader. */
  readonly leader: MikroORM;
  /** Connections of `orm`, and milliseconds that a read waits for one. */
  readonly pool: { readonly connections: number; readonly waitMs: number };
  /** Hears of each read that could have been answered there, whether it was. */
  readonly count?: ((there: boolean) => void) | undefined;
  /** Hears why it can't be used, when that changes; undefined: it can be. */
  readonly tell?: ((problem: string | undefined) => void) | undefined;
  /** Hears of a read that failed there alone, with what: a SQLSTATE, the kind of the error, or that it was slow. */
  readonly failed?: ((problem: string) => void) | undefined;
}

/** Milliseconds for a connection and until it shows what it must; and, of those, for it to catch up. */
const REACH_MS = 500;
const CATCH_UP_MS = 100;
/** Milliseconds between two looks at how far it has come: the first, then twice as long each time. */
const LOOK_MS = 2;
/** Milliseconds between two looks whether one that can't be used can be used again. */
const PROBE_MS = 1_000;
/** Milliseconds for such a look, which finds out at first what a pooler in between does. */
const PROBE_PATIENCE_MS = 5_000;

/**
 * The replica is never believed to be fresh: each read asks the leader how far it has come, then waits for the replica to have come as far - which
 * costs the leader next to nothing, since all who ask meanwhile share a question. One that is away, of another cluster or time, or too far
 * behind isn't asked until a look at it, beside the calls, finds it well again.
 */
export function createReplica({
  orm,
  leader,
  pool,
  count = () => {},
  tell = () => {},
  failed = () => {},
}: ReplicaOptions): Replica {
  const position = leaderPosition(leader);
  const line = createLine(pool);
  let usable = false;
  let checked = false;
  let told: string | undefined | null = null; // nothing yet
  let looking = false;
  let stopped = false;
  let probing: NodeJS.Timeout | undefined;

  async function probe(): Promise<void> {
    if (looking) return;
    looking = true;
    try {
      const where = await position();
      await inTransaction(orm, AbortSignal.timeout(PROBE_PATIENCE_MS), (em) => reach(em, where));
      if (!checked) await checkSettings(orm);
      [checked, usable] = [true, true];
      say(undefined);
    } catch (error) {
      usable = false;
      say(problemOf(error));
      probeLater();
    } finally {
      looking = false;
    }
  }
  function probeLater(): void {
    clearTimeout(probing);
    if (!stopped) probing = setTimeout(() => void probe(), PROBE_MS).unref();
  }
  function say(problem: string | undefined): void {
    if (told !== problem && !stopped) tell(problem);
    told = problem;
  }
  function giveUp(error: unknown): void {
    if (!usable) return;
    usable = false;
    say(problemOf(error));
    probeLater();
  }

  /** What `work` answers or refuses there; undefined when it isn't to be had. */
  async function ask<T>(signal: AbortSignal, work: (em: EntityManager) => Promise<T>, ms: number) {
    const where = await position().catch((error: unknown) => {
      if (isForGood(error)) giveUp(error);
    });
    if (!where) return undefined;
    let reached = false;
    const late = new AbortController();
    const end = () => late.abort(new Error(SILENT));
    let timer = setTimeout(end, REACH_MS).unref();
    let answer: Answer<T> | undefined;
    const ended = AbortSignal.any([signal, late.signal]);
    const reading = inTransaction(orm, ended, async (em) => {
      await reach(em, where);
      reached = true;
      clearTimeout(timer);
      timer = setTimeout(end, ms).unref();
      answer = await settled(work(em));
    });
    try {
      await orAbort(ended, reading); // a connection that is silent takes its time to be given up
    } catch (error) {
      if (answer) return answer; // it was read, and there is nothing to be committed
      signal.throwIfAborted();
      if (late.signal.aborted && reached) {
        failed(SLOW);
        void probe(); // the statement may be to blame
      } else if (late.signal.aborted) giveUp(late.signal.reason);
      else if (error instanceof Unfit || isGone(error)) giveUp(error);
      else failed(failureOf(error));
    } finally {
      clearTimeout(timer);
    }
    return answer;
  }
  void probe();
  return {
    async read(signal, work, ms) {
      if (!usable) {
        count(false);
        return undefined;
      }
      if (line.full()) throw new Fault('OVERLOADED', 'too many read already');
      const leave = await line.enter(signal);
      try {
        const span = tracer()?.part('unit of work', { 'amrutam.unit': 'read', 'amrutam.at': 'replica' });
        const answer = await within(span, () => ask(signal, work, ms));
        count(answer !== undefined);
        if (answer && 'refused' in answer) throw answer.refused;
        return answer;
      } finally {
        leave();
      }
    },
    usable: () => usable,
    stop() {
      stopped = true;
      clearTimeout(probing);
    },
  };
}

/** A refusal is an answer too. */
type Answer<T> = { readonly found: T } | { readonly refused: Fault };

/** What makes a replica of no use. */
class Unfit extends Error {}
const NO_TABLE = '42P01';
const SILENT = 'it has not answered in time';
/** Of a read that took too long there. */
const SLOW = 'slow';
const STRANGER =
  "it doesn't show what the leader has written since the last failover: it is of another database, or of a leader that was, or far behind";

/** Resolves when what is read by `em` from now on shows everything up to `where`. Rejects Unfit when it doesn't soon. */
async function reach(em: EntityManager, where: Position): Promise<void> {
  const until = performance.now() + CATCH_UP_MS;
  for (let pause = LOOK_MS; ; pause *= 2) {
    const { standby, behind, marked } = await readStanding(em, where);
    if (!standby) throw new Unfit('it is no standby');
    if (behind <= 0 && marked) return;
    if (behind <= 0 || performance.now() > until)
      throw new Unfit(marked ? `it is more than ${CATCH_UP_MS} ms behind` : STRANGER);
    await sleep(pause);
  }
}

async function settled<T>(work: Promise<T>): Promise<Answer<T>> {
  try {
    return { found: await work };
  } catch (error) {
    if (error instanceof Fault) return { refused: error };
    throw error;
  }
}

/** Whether the leader will refuse to say how far it has come until somebody does something: the role has not been granted what it takes. */
function isForGood(error: unknown): boolean {
  return /^42...$/.test(`${(error as { code?: unknown }).code}`);
}

function problemOf(error: unknown): string {
  const { code, name, message } = error as { code?: string; name: string; message: string };
  if (name === 'TimeoutError') return SILENT;
  if (code === NO_TABLE) return STRANGER;
  return message || code || 'it does not answer';
}
