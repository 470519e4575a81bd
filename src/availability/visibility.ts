import type { Caller } from '../caller.ts';
import { sql } from '../db/sql.ts';
import type { Sql } from '../db/statement.ts';

/** Whether the caller sees everything of a doctor: the doctor and administrators do. */
export function seesAll(caller: Caller | undefined, doctorId: string): boolean {
  return caller?.role === 'ADMINISTRATOR' || (caller?.role === 'DOCTOR' && caller.userId === doctorId);
}

/** The condition under which the caller sees everything of a doctor, given the SQL of the doctor's id: the doctor and administrators do. */
export function seesAllOf(caller: Caller | undefined, doctorId: Sql): Sql {
  if (caller?.role === 'ADMINISTRATOR') return sql`TRUE`;
  if (caller?.role === 'DOCTOR') return sql`${doctorId} = ${caller.userId}`;
  return sql`FALSE`;
}
