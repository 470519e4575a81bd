import type { Caller } from '../caller.ts';
import { sql } from '../db/sql.ts';
import type { Sql } from '../db/statement.ts';

/** The condition under which a row of `booking` belongs to the caller: part of the query itself, so that somebody else's booking is not found. */
export function ownedBy({ role, userId }: Caller): Sql {
  switch (role) {
    case 'PATIENT':
      return sql`patient_id = ${userId}`;
    case 'DOCTOR':
      return sql`doctor_id = ${userId}`;
    case 'ADMINISTRATOR':
      return sql`TRUE`;
  }
}
