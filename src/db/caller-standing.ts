import type { Caller } from '../caller.ts';
import { Fault } from '../fault.ts';
import { sql } from './sql.ts';
import type { Sql } from './statement.ts';

/** True of a row of `session` that has neither been ended nor run out. */
export const sessionLive: Sql = sql`(revoked_at IS NULL AND expires_at > clock_timestamp())`;

/** What the database says of a caller at this moment; all null where the account is gone. */
export interface Standing {
  readonly user_state: string | null;
  readonly user_role: string | null;
  readonly session_live: boolean | null;
}

/** Refuses a caller whose account is gone, suspended or of another role than the token says, or whose session has ended. */
export function checkCaller({ role }: Pick<Caller, 'role'>, standing: Standing | undefined): void {
  const { user_state = null, user_role = null, session_live = null } = standing ?? {};
  if (user_state === null) throw new Fault('TOKEN_INVALID', 'the account is gone');
  if (user_state !== 'ACTIVE') throw new Fault('ACCOUNT_SUSPENDED', 'the account is suspended');
  if (!session_live) throw new Fault('SESSION_REVOKED', 'the session has ended');
  if (user_role !== role) throw new Fault('TOKEN_INVALID', "the account's role is another one now");
}
