import type { EntityManager } from '@mikro-orm/postgresql';
import type { Caller } from '../caller.ts';
import { sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import { Fault } from '../fault.ts';
import type { DoctorView } from './doctor-view.ts';
import { type DoctorRow, doctorColumns, doctorView, nextOpen } from './doctor-view.ts';
import { seesAllOf } from './visibility.ts';

/** One doctor that the caller may see. Throws DOCTOR_NOT_FOUND. */
export async function getDoctor(
  em: EntityManager,
  doctorId: string,
  { caller, now }: { caller: Caller | undefined; now: Date },
): Promise<DoctorView> {
  const found = await row<DoctorRow>(
    em,
    sql`SELECT ${doctorColumns}, next.start_at AS next_open_at
        FROM doctor d JOIN app_user u ON u.id = d.user_id LEFT JOIN LATERAL (${nextOpen(now)}) next ON TRUE
        WHERE d.user_id = ${doctorId} AND (d.state = 'ACTIVE' OR ${seesAllOf(caller, sql`d.user_id`)})`,
  );
  if (!found) throw new Fault('DOCTOR_NOT_FOUND', 'no such doctor');
  return doctorView(found);
}
