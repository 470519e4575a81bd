import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { failureOf, tracer } from '../tracing/tracer.ts';

/** Hears of each statement: how long it took, and whether it failed. */
export type StatementWatch = (seconds: number, failed: boolean) => void;

const watches = new WeakMap<MikroORM | EntityManager, StatementWatch>();

/** Characters of a statement that a trace shows: one that inserts hundreds of rows is as long as they are many. */
const SHOWN = 4_000;

/** Has `watch` hear of the statements of every EntityManager that is made from `orm` from now on. */
export function watchStatements(orm: MikroORM, watch: StatementWatch): void {
  watches.set(orm, watch);
}

/** Has whoever watches `orm` hear of `em`, too. */
export function watchedAs(orm: MikroORM, em: EntityManager): void {
  const watch = watches.get(orm);
  if (watch) watches.set(em, watch);
}

/** Asks the database for `text` by `ask`, measured and traced. The text has no values in it. */
export async function watched<T>(em: EntityManager, text: string, ask: () => Promise<T>): Promise<T> {
  const watch = watches.get(em);
  const span = tracer()?.statement(nameOf(text), {
    'db.system.name': 'postgresql',
    'db.query.text': text.slice(0, SHOWN),
  });
  if (!watch && !span) return ask();
  const startedAt = performance.now();
  let failure: string | undefined;
  try {
    return await (span ? span.within(ask) : ask());
  } catch (error) {
    failure = failureOf(error);
    throw error;
  } finally {
    watch?.((performance.now() - startedAt) / 1000, failure !== undefined);
    span?.end(failure);
  }
}

/** Its first word. */
function nameOf(text: string): string {
  return /^\s*(\w+)/.exec(text)?.[1]?.toUpperCase() ?? 'SQL';
}
