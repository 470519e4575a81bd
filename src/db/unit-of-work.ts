import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import type { Call, Caller } from '../caller.ts';
import type { Fault } from '../fault.ts';
import { orAbort } from '../or-abort.ts';
import { tracer, within } from '../tracing/tracer.ts';
import { attemptOnce } from './attempt-once.ts';
import { attemptWrite } from './attempt-write.ts';
import { createGate, type Gate, type Leave } from './gate.ts';
import { createLine } from './line.ts';
import { databaseThere } from './orm.ts';
import { recordDenial } from './record-denial.ts';
import type { Replica } from './replica.ts';
import { allowStatements, forkFor, type Sql } from './statement.ts';
import { inTransaction, retrying, translated } from './transaction.ts';
import type { Subject, Work } from './work.ts';
import type { ChangedEntity } from './write-changes.ts';

/** Calls of one instance that may hold a connection for the same slot, for the same caller, the same request, the same
 * account that isn't signed in; and for reports. */
const LIMITS = { slot: 2, caller: 4, request: 1, account: 1, report: 4 };
/**
 * Of the connections, how many calls for the same slot may hold while they are refused: they lock nothing that the next ones
 * need (measured: a crowd has its answers in 0.94 of the time that as many bookings take, instead of 1.1; with twice the share in 0.87,
 * but then others' calls beside it take 2.8 times as long as beside no crowd, instead of 1.4).
 */
const REFUSED_SHARE = 0.2;
/** Milliseconds that the others wait in memory. A crowd on a slot gets its answers within the 5 s of the default deadline. */
const WAIT_MS = { slot: 4_000, caller: 4_000, request: 2_000, account: 2_000, report: 4_000 };

/** Milliseconds that a replica has for what is read there. After that the database has the time that is left of a listing's 5 s. */
const REPLICA_MS = { list: 1_000, report: 30_000 };

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

/** Whoever keeps copies of what was read, here or in other processes. */
export interface Copies {
  /** What is written with a change for those elsewhere, under the condition `won`. */
  note(changed: readonly ChangedEntity[], won: Sql): readonly Sql[];
  /** Told when a change is over: it was committed, or perhaps not. */
  changed(changed: readonly ChangedEntity[]): void;
}

export interface UnitsOfWorkOptions {
  readonly orm: MikroORM;
  readonly codec: AnswerCodec;
  /** The INSERT of one line of the audit trail, under the condition `won`. */
  readonly recordEvent: (record: AuditRecord, won: Sql) => Sql;
  readonly copies?: Copies | undefined;
  /** Where lists and reports are read while it shows everything. */
  readonly replica?: Replica | undefined;
  /** Connections of the pool, and milliseconds that a unit of work waits for one. */
  readonly pool: { readonly connections: number; readonly waitMs: number };
  /** Milliseconds added to the database's time; for tests. */
  readonly shiftMs?: () => number;
}

/** The only way to the database: each opens a fresh identity map, and at most one transaction at a time on one connection. */
export interface UnitsOfWork {
  /** Whether so much waits that who comes now should rather come again later. */
  full(): boolean;
  /** How many wait for a connection. */
  waiting(): number;
  /** Reads, each statement for itself. `now` is this process' time, good enough to list, never to decide. */
  read<T>(signal: AbortSignal, work: (em: EntityManager, now: Date) => Promise<T>): Promise<T>;
  /** As `read`, of the same, but at the replica where there is one: for what is listed and nothing is decided by. */
  list<T>(signal: AbortSignal, work: (em: EntityManager, now: Date) => Promise<T>): Promise<T>;
  /** Lists what may take long, in one transaction: 25 s a statement instead of 5, and still the caller's deadline. */
  report<T>(signal: AbortSignal, work: (em: EntityManager) => Promise<T>): Promise<T>;
  /**
   * One transaction for a change without a request_id. A verb that throws a Fault refuses and keeps nothing; one that
   * returns a Fault refuses and keeps its changes. Both are put on record when `about` was told a subject. Of calls without a
   * caller those about one `account` come one after the other: a crowd of them would wait for its row on a connection each.
   */
  write<T>(call: Call, work: (work: Work) => Promise<T | Fault>, account?: string): Promise<T>;
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
  const eased = Math.max(LIMITS.slot, Math.floor(options.pool.connections * REFUSED_SHARE));
  const gates = {
    request: createGate(LIMITS.request, WAIT_MS.request, 'IN_PROGRESS'),
    caller: createGate(LIMITS.caller, WAIT_MS.caller, 'CONTENTION'),
    account: createGate(LIMITS.account, WAIT_MS.account, 'CONTENTION'),
    slot: createGate({ usual: LIMITS.slot, eased }, WAIT_MS.slot, 'CONTENTION'),
    report: createGate(LIMITS.report, WAIT_MS.report, 'OVERLOADED'),
  };
  const line = createLine(options.pool);
  const there = (signal: AbortSignal) => translated(signal, () => databaseThere(options.orm));
  /** A place in the line. Who waited in vain because the database has gone is told that. */
  async function enterLine(signal: AbortSignal): Promise<() => void> {
    await there(signal);
    try {
      return await line.enter(signal);
    } catch (refused) {
      await there(signal);
      throw refused;
    }
  }
  /**
   * Works behind all those gates, and leaves them whatever happens. The line comes last: who waits at a gate takes no place in it.
   * `eases` says of a result whether the next ones will hardly hold each other up.
   */
  async function passed<T>(
    { ways, signal }: Passage,
    work: () => Promise<T>,
    eases?: (result: T) => boolean,
  ): Promise<T> {
    const leave: Leave[] = [];
    let eased: boolean | undefined;
    try {
      for (const [gate, key] of ways) leave.push(await gate.enter(key, signal));
      leave.push(await enterLine(signal));
      const result = await work();
      eased = eases?.(result);
      return result;
    } finally {
      for (const out of leave.reverse()) out(eased);
    }
  }
  /** The same, in a span that tells how long it waited. */
  function through<T>(passage: Passage, work: () => Promise<T>, eases?: (result: T) => boolean): Promise<T> {
    const span = tracer()?.part('unit of work', { 'amrutam.unit': passage.unit });
    if (!span) return passed(passage, work, eases);
    const startedAt = performance.now();
    const begin = () => {
      span.tell({ 'amrutam.waited_ms': performance.now() - startedAt });
      return work();
    };
    return within(span, () => passed(passage, begin, eases));
  }
  const now = () => new Date(Date.now() + shiftMs());
  const read: UnitsOfWork['read'] = async (signal, work) => {
    const reading = () => retrying(signal, () => work(forkFor(options.orm, signal), now()));
    return orAbort(signal, through({ unit: 'read', ways: [], signal }, reading));
  };
  return {
    full: line.full,
    waiting: line.waiting,
    read,
    async list(signal, work) {
      const { replica } = options;
      if (!replica) return read(signal, work);
      const there = await orAbort(
        signal,
        replica.read(signal, (em) => work(em, now()), REPLICA_MS.list),
      );
      return there ? there.found : read(signal, work);
    },
    async report(signal, work) {
      const slowly = async (em: EntityManager) => {
        await allowStatements(em, 25_000);
        return work(em);
      };
      const leave = await gates.report.enter('', signal);
      try {
        const there = await options.replica?.read(signal, slowly, REPLICA_MS.report);
        if (there) return there.found;
        return await through({ unit: 'report', ways: [], signal }, () =>
          retrying(signal, () => inTransaction(options.orm, signal, slowly)),
        );
      } finally {
        leave();
      }
    },
    async write(call, work, account) {
      const ways: Way[] = account === undefined ? [] : [[gates.account, account]];
      if (call.caller) ways.push([gates.caller, call.caller.userId]);
      return through({ unit: 'write', ways, signal: call.signal }, () =>
        retrying(call.signal, () => attemptWrite(options, call, work)),
      );
    },
    async recordDenial(call, denial) {
      await through({ unit: 'denial', ways: [], signal: call.signal }, () =>
        translated(call.signal, () => recordDenial(options, { call, subject: {}, denial })),
      );
    },
    async once(call, request, work, encode) {
      const caller = call.caller as Caller;
      const ways: Way[] = [
        [gates.request, `${caller.userId} ${call.method} ${request.requestId}`],
        [gates.caller, caller.userId],
      ];
      const { slotId } = request;
      const crowded = slotId !== undefined && gates.slot.busy(slotId);
      if (slotId) ways.push([gates.slot, slotId]);
      const attempt = { call, request, crowded, work, encode };
      const attempting = () => retrying(call.signal, () => attemptOnce(options, attempt));
      const outcome = await through(
        { unit: 'once', ways, signal: call.signal },
        attempting,
        (refused) => refused instanceof Error,
      );
      if (outcome instanceof Error) throw outcome;
      return outcome;
    },
  };
}

/** A gate, and for whom to enter it. */
type Way = readonly [gate: Gate, key: string];

/** What stands before a unit of work. */
interface Passage {
  /** What the unit is called in traces. */
  readonly unit: string;
  readonly ways: readonly Way[];
  readonly signal: AbortSignal;
}
