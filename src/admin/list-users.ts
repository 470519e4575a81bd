import type { EntityManager } from '@mikro-orm/postgresql';
import type { UserState } from '../auth/user.entity.ts';
import type { DoctorState } from '../availability/doctor.entity.ts';
import type { RoleName } from '../caller.ts';
import { sql } from '../db/sql.ts';
import { allOf, containing, rows } from '../db/statement.ts';
import { type Page, type PageAsk, pageOf } from '../page.ts';
import { type ManagedUser, managedColumns } from './managed-user.ts';

/** What ListUsers asks for; absent and empty conditions don't count. */
export interface UserListing {
  readonly role?: RoleName | undefined;
  readonly state?: UserState | undefined;
  readonly doctorState?: DoctorState | undefined;
  /** Part of the name or the e-mail address. */
  readonly query: string;
}

/** Place in the listing: the id, which grows with time. */
export type UserCursor = readonly [id: string];

/** Accounts, newest first. */
export async function listUsers(
  em: EntityManager,
  listing: UserListing,
  page: PageAsk<UserCursor>,
): Promise<Page<ManagedUser, UserCursor>> {
  const { role, state, doctorState } = listing;
  const part = containing(listing.query);
  const found = await rows<ManagedUser>(
    em,
    sql`SELECT ${managedColumns} FROM app_user u LEFT JOIN doctor d ON d.user_id = u.id
        WHERE ${allOf([
          role && sql`u.role = ${role}`,
          state && sql`u.state = ${state}`,
          doctorState && sql`d.state = ${doctorState}`,
          part !== undefined && sql`(lower(u.display_name) LIKE ${part} OR u.email LIKE ${part})`,
          page.after && sql`u.id < ${page.after[0]}`,
        ])} ORDER BY u.id DESC LIMIT ${page.size + 1}`,
  );
  return pageOf(found, page.size, ({ id }): UserCursor => [id]);
}
