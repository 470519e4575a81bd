import type { Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { aboutAccount } from './log-in.ts';
import type { User } from './user.entity.ts';
import { userLock } from './user-lock.ts';

/** What to change; absent fields stay. `timeZone` is an IANA name that was checked. */
export interface UserChanges {
  readonly displayName?: string | undefined;
  readonly timeZone?: string | undefined;
}

/** Changes the caller's own account. */
export async function updateCurrentUser(
  work: Work,
  userId: string,
  { displayName, timeZone }: UserChanges,
): Promise<User> {
  work.about({ entityType: 'user', entityId: userId });
  const {
    users: [user],
    now,
  } = await work.lock({ users: userLock(userId) });
  if (!user) throw new Fault('USER_NOT_FOUND', 'no such user');
  work.about(aboutAccount(user));
  if (displayName !== undefined) user.rename(displayName, now);
  if (timeZone !== undefined) user.moveTo(timeZone, now);
  return user;
}
