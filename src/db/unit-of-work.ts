import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import type { Call, Caller } from '../caller.ts';
import type { Fault } from '../fault.ts';
import { attemptOnce } from './attempt-once.ts';
import { attemptWrite } from './attempt-write.ts';
import { createGate } from './gate.ts';
import { recordDenial } from './record-denial.ts';
import { forkFor, rows, type Sql } from './statement.ts';
import { inTransaction, retrying, translated } from './transaction.ts';
import type { Subject, Work } from './work.ts';

/** Calls of one instance that may hold a connection for the same slot, for the same caller, for the same request. */
const LIMITS = { slot: 4, caller: 4, request: 1 };
/** Milliseconds that the others wait in memory. A crowd on a slot gets its answers within the 5 s of the default deadline. */
const WAIT_MS = { slot: 4_000, caller: 4_000, request: 2_000 };

/** One line of the audit trail, as a unit of work knows it. */
export interface AuditRecord {
  readonly call: Call;
  readonly subject: Subject;
  readonly requestId: string | undefined;
  /** The refusal's reason; absent when the change was made. */
  readonly refusal: Fault | undefined;
  readonly changed: readonly string[];
}

/** How answers are kept: what a refusal is as bytes, and which refusals are answers that a retry must get again. */
export interface AnswerCodec {
  /** The gRPC code of a refusal that is kept; undefined when the next try may fare better. */
  keptCode(refusal: Fault): number | undefined;
  /** Whether a refusal that isn't kept goes on record all the same: a denial. */
  isDenial(refusal: Fault): boolean;
  refusalBytes(refusal: Fault): Uint8Array;
  /** The error to throw for a kept refusal. */
  refusalFromBytes(bytes: Uint8Array): Error;
}

/** An idempotent request. */
export interface Request {
  readonly requestId: string;
  /** Everything that makes the request what it is, in a fixed order. */
  readonly asks: readonly unknown[];
  /** The slot that a crowd may want. */
  readonly slotId?: string;
}

/** An answer and whether it is one that was given before. */
export interface Answer {
  readonly bytes: Uint8Array;
  readonly replayed: boolean;
}

export interface UnitsOfWorkOptions {
  readonly orm: MikroORM;
  readonly codec: AnswerCodec;
  /** The INSERT of one line of the audit trail, under the condition `won`. */
  readonly recordEvent: (record: AuditRecord, won: Sql) => Sql;
  /** Milliseconds added to the database's time; for tests. */
  readonly shiftMs?: () => number;
}

/** The only way to the database: each opens a fresh identity map, and at most one transaction at a time on one connection. */
export interface UnitsOfWork {
  /** Reads, each statement for itself. `now` is this process' time, good enough to list, never to decide. */
  read<T>(signal: AbortSignal, work: (em: EntityManager, now: Date) => Promise<T>): Promise<T>;
  /** Reads that may take long, in one transaction: 25 s a statement instead of 5, and still the caller's deadline. */
  report<T>(signal: AbortSignal, work: (em: EntityManager) => Promise<T>): Promise<T>;
  /**
   * One transaction for a change without a request_id. A verb that throws a Fault refuses and keeps nothing; one that
   * returns a Fault refuses and keeps its changes. Both are put on record when `about` was told a subject.
   */
  write<T>(call: Call, work: (work: Work) => Promise<T | Fault>): Promise<T>;
  /** Puts a denial on record that was given before any unit of work began. */
  recordDenial(call: Call, denial: Fault): Promise<void>;
  /**
   * One transaction for a change with a request_id: effects, audit and answer are written together, or nothing is. The
   * same request again gets the same answer; `encode` makes its bytes. Refusals that could change their mind later are
   * answers too.
   */
  once<T>(
    call: Call,
    request: Request,
    work: (work: Work) => Promise<T>,
    encode: (result: T) => Uint8Array,
  ): Promise<Answer>;
}

export function createUnitsOfWork(options: UnitsOfWorkOptions): UnitsOfWork {
  const shiftMs = options.shiftMs ?? (() => 0);
  const gates = {
    request: createGate(LIMITS.request, WAIT_MS.request, 'IN_PROGRESS'),
    caller: createGate(LIMITS.caller, WAIT_MS.caller, 'CONTENTION'),
    slot: createGate(LIMITS.slot, WAIT_MS.slot, 'CONTENTION'),
  };
  return {
    async read(signal, work) {
      return translated(signal, () => work(forkFor(options.orm, signal), new Date(Date.now() + shiftMs())));
    },
    async report(signal, work) {
      const slowly = async (em: EntityManager) => {
        await rows(em, sql`SELECT set_config('statement_timeout', '25000', TRUE)`);
        return work(em);
      };
      return translated(signal, () => inTransaction(options.orm, signal, slowly));
    },
    async write(call, work) {
      return retrying(call.signal, () => attemptWrite(options, call, work));
    },
    recordDenial: (call, denial) => translated(call.signal, () => recordDenial(options, { call, subject: {}, denial })),
    async once(call, request, work, encode) {
      const caller = call.caller as Caller;
      const attempt = () => attemptOnce(options, { call, request, work, encode });
      const leave: (() => void)[] = [];
      try {
        leave.push(await gates.request.enter(`${caller.userId} ${call.method} ${request.requestId}`, call.signal));
        leave.push(await gates.caller.enter(caller.userId, call.signal));
        if (request.slotId) leave.push(await gates.slot.enter(request.slotId, call.signal));
        return await retrying(call.signal, attempt);
      } finally {
        for (const out of leave.reverse()) out();
      }
    },
  };
}
