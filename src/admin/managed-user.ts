import type { UserState } from '../auth/user.entity.ts';
import type { DoctorState } from '../availability/doctor.entity.ts';
import type { RoleName } from '../caller.ts';
import { sql } from '../db/sql.ts';
import type { Sql } from '../db/statement.ts';

/** An account as an administrator sees it: a row of `managedColumns`. */
export interface ManagedUser {
  readonly id: string;
  readonly email: string;
  readonly display_name: string;
  readonly role: RoleName;
  readonly state: UserState;
  readonly doctor_state: DoctorState | null;
  readonly time_zone: string;
  readonly created_at: Date;
}

/** What a ManagedUser needs of `app_user u` joined with `doctor d`; never the password's hash. */
export const managedColumns: Sql = sql`u.id, u.email, u.display_name, u.role, u.state, d.state AS doctor_state, u.time_zone, u.created_at`;
