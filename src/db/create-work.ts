import type { EntityManager } from '@mikro-orm/postgresql';
import type { Call } from '../caller.ts';
import type { Fault } from '../fault.ts';
import { type Claim, lockFirst } from './first-statement.ts';
import type { Subject, Work } from './work.ts';
import { type Changed, type ChangedEntity, writeChanges } from './write-changes.ts';

/** A Work with what the unit of work itself needs to know of it. */
export interface OpenWork extends Work {
  /** What the change is about; absent until the verb says so. */
  readonly subject: Subject | undefined;
  /** Whether the first statement has run, and the claim was had. */
  readonly locked: boolean;
  readonly contested: object | undefined;
  /** What its last statement has written. */
  readonly written: readonly ChangedEntity[];
  wrote(entities: readonly ChangedEntity[]): void;
  /** What was written ahead of the last statement; undefined when nothing was. */
  readonly ahead: Changed | undefined;
  /** Names the refusal of a contested insert that lost. */
  whyLost(): Promise<Fault>;
}

/** What distinguishes a unit of work that has a request_id. */
interface Particulars {
  readonly claim?: Claim;
  readonly crowded?: boolean;
  readonly shiftMs?: (() => number) | undefined;
}

/** The Work of one transaction. */
export function createWork(em: EntityManager, call: Call, { claim, crowded, shiftMs }: Particulars): OpenWork {
  let subject: Subject | undefined;
  let locked = false;
  let written: readonly ChangedEntity[] = [];
  let ahead: Changed | undefined;
  let contested: { entity: object; why: () => Promise<Fault> } | undefined;
  return {
    em,
    call,
    crowded: crowded === true,
    get subject() {
      return subject;
    },
    get locked() {
      return locked;
    },
    get contested() {
      return contested?.entity;
    },
    get written() {
      return written;
    },
    wrote(entities) {
      written = entities;
    },
    get ahead() {
      return ahead;
    },
    async writeNow() {
      await writeChanges(em, undefined, (_, { entities, columns }) => {
        const before = { entities: ahead?.entities ?? [], columns: ahead?.columns ?? [] };
        ahead = { entities: [...before.entities, ...entities], columns: [...before.columns, ...columns] };
        return [];
      });
    },
    async lock(locks) {
      const found = await lockFirst(em, call, claim, locks, shiftMs?.() ?? 0);
      locked = true;
      return found;
    },
    contest(entity, why) {
      contested = { entity, why };
      em.persist(entity);
    },
    about(more) {
      subject = { ...subject, ...more };
    },
    async whyLost() {
      if (!contested) throw new Error('a unit of work without a contested insert lost it');
      return contested.why();
    },
  };
}

/** What the last statement of a unit of work changes, and what was written ahead of it. */
export function withAhead({ ahead }: Pick<OpenWork, 'ahead'>, last: Changed): Changed {
  if (!ahead) return last;
  return {
    entities: [...ahead.entities, ...last.entities],
    columns: [...new Set([...ahead.columns, ...last.columns])],
  };
}
