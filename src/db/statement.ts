import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { CompiledQuery } from 'kysely';
import { withPatience } from './patience.ts';
import { compileSql, type Sql, sql } from './sql.ts';
import { watched, watchedAs } from './watched.ts';

export type { Sql } from './sql.ts';

const signals = new WeakMap<EntityManager, AbortSignal>();
const allowances = new WeakMap<EntityManager, number>();

/** A fresh EntityManager, whose statements are cancelled in the database when `signal` aborts. */
export function forkFor(orm: MikroORM, signal?: AbortSignal): EntityManager {
  const em = orm.em.fork() as EntityManager;
  if (signal) signals.set(em, signal);
  watchedAs(orm, em);
  return em;
}

/**
 * Runs one statement in the unit of work of `em` (in its transaction, when it has one) and answers its rows.
 *
 * Values are always bound, never part of the SQL text: MikroORM's own queries inline them, and SQL text ends up in logs.
 * When the signal of `em` aborts, the statement is cancelled in the database too and the signal's reason is thrown.
 */
export async function rows<T>(em: EntityManager, statement: Sql): Promise<T[]> {
  const signal = signals.get(em);
  signal?.throwIfAborted();
  const { text, values } = compileSql(statement);
  const asked = CompiledQuery.raw(text, [...values]);
  const patience = { signal, statementMs: allowances.get(em) };
  const ask = () => withPatience(patience, () => em.getKysely().executeQuery<T>(asked));
  const result = await watched(em, text, ask);
  return result.rows;
}

/** Gives the statements that follow in the transaction of `em` this many milliseconds each, instead of 5,000. */
export async function allowStatements(em: EntityManager, ms: number): Promise<void> {
  await rows(em, sql`SELECT set_config('statement_timeout', ${String(ms)}, TRUE)`);
  allowances.set(em, ms);
}

/** As `rows`, for statements that answer at most one row. */
export async function row<T>(em: EntityManager, statement: Sql): Promise<T | undefined> {
  return (await rows<T>(em, statement))[0];
}

/** `a AND b AND …` of the conditions that are given; `TRUE` when none is. */
export function allOf(conditions: readonly (Sql | undefined | false)[]): Sql {
  const given = conditions.filter((condition) => condition !== undefined && condition !== false);
  return given.length ? sql`(${sql.join(given, ' AND ')})` : sql`TRUE`;
}

/** The LIKE pattern for texts in lower case that contain `text`, whatever signs are in it; undefined when it is blank. */
export function containing(text: string): string | undefined {
  const wanted = text.trim().toLowerCase();
  return wanted === '' ? undefined : `%${wanted.replace(/[\\%_]/g, '\\$&')}%`;
}
