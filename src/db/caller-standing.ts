import { sql } from 'kysely';
import { Fault } from '../fault.ts';
import type { Sql } from './statement.ts';

/** True of a row of `session` that has neither been ended nor run out. */
export const sessionLive: Sql = sql`(revoked_at IS NULL AND expires_at > clock_timestamp())`;

/** Refuses a caller whose account is gone or suspended, or whose session has ended. */
export function checkCaller(userState: string | null, sessionLive: boolean | null): void {
  if (userState === null) throw new Fault('TOKEN_INVALID', 'the account is gone');
  if (userState !== 'ACTIVE') throw new Fault('ACCOUNT_SUSPENDED', 'the account is suspended');
  if (!sessionLive) throw new Fault('SESSION_REVOKED', 'the session has ended');
}
