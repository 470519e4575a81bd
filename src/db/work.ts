import type { EntityManager } from '@mikro-orm/postgresql';
import type { Call, RoleName } from '../caller.ts';
import type { Fault } from '../fault.ts';
import type { Sql } from './statement.ts';

/** What a use case does to the database: given to verbs by a unit of work. */
export interface Work {
  readonly em: EntityManager;
  readonly call: Call;
  /** Whether others were there for the same slot when this came: then it has probably gone. */
  readonly crowded: boolean;
  /**
   * The unit of work's first statement: claims the request (when it has a request_id), locks the caller's own row, then
   * what `locks` names, in the order named. Refuses a suspended caller and an ended session. Call it once, and decide
   * only from what it answers or what a later statement reads.
   */
  lock<L extends Locks>(locks: L): Promise<Locked<L>>;
  /**
   * Persists a new entity whose place a constraint guards. When the place turns out taken, nothing of the unit of work
   * is written, and `why` - which may read again - names the refusal.
   */
  contest(entity: object, why: () => Promise<Fault>): void;
  /**
   * Writes what has changed so far ahead of the rest, for statements of the verb's own that refer to it. After it nothing may be refused
   * any more. What was loaded before is no longer managed.
   */
  writeNow(): Promise<void>;
  /** Says what the change is about, for the audit trail. Called before anything can be refused; later calls add to earlier ones. */
  about(subject: Subject): void;
}

/** What a change is about. */
export interface Subject {
  readonly entityType?: 'user' | 'session' | 'doctor' | 'slot' | 'booking' | 'schedule' | 'exception' | 'audit_log';
  readonly entityId?: string;
  readonly patientId?: string;
  /** Patients whose data was read; each gets a line of its own. */
  readonly patientIds?: readonly string[];
  /** Who acts, where the call carries no token: the account that signs in. */
  readonly actor?: { readonly userId: string; readonly role: RoleName };
  /** The session that begins with it. */
  readonly sessionId?: string;
  /** Why, where that is part of the record: the purpose of an administrator's read. */
  readonly purpose?: string;
}

/** A query that locks (or, without FOR …, reads) rows; `held` is a condition that it must carry, so that its turn comes after the locks before it. */
export interface Lock<T extends object> {
  readonly entity: (new () => T) | undefined;
  readonly query: (held: Sql) => Sql;
}

/** Locks by name, in lock order: users, bookings, slots ascending by id. What is undefined isn't asked for, and finds nothing. */
export type Locks = Readonly<Record<string, Lock<object> | undefined>>;

/** What `Work.lock` answers: the rows of each lock, and the database's time after the last lock was had. */
export type Locked<L extends Locks> = {
  readonly [K in keyof L]: L[K] extends Lock<infer T> | undefined ? T[] : never;
} & {
  readonly now: Date;
  readonly callerName: string;
};

/** Rows of an entity, managed by the unit of work: what a verb changes in them is written. */
export function lockRows<T extends object>(entity: new () => T, query: (held: Sql) => Sql): Lock<T> {
  return { entity, query };
}

/** Plain rows, as the query names their columns. */
export function readRows<T extends object>(query: (held: Sql) => Sql): Lock<T> {
  return { entity: undefined, query };
}
