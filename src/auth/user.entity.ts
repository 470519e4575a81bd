import { defineEntity, p } from '@mikro-orm/postgresql';
import { v7 as uuid } from 'uuid';
import type { RoleName } from '../caller.ts';

/** Whether an account may be used. */
export type UserState = 'ACTIVE' | 'SUSPENDED';

export const UserSchema = defineEntity({
  name: 'User',
  tableName: 'app_user',
  properties: {
    id: p.uuid().primary(),
    /** In lower case. */
    email: p.text(),
    /** PHC string. */
    passwordHash: p.text(),
    displayName: p.text(),
    role: p.text().$type<RoleName>(),
    state: p.text().$type<UserState>(),
    timeZone: p.text(),
    failedSignIns: p.integer(),
    signInBlockedUntil: p.datetime().nullable(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

/** Wrong passwords in a row before further tries wait. */
const FREE_TRIES = 5;
const LONGEST_BLOCK_S = 15 * 60;

/** An account. Its role never changes. */
export class User extends UserSchema.class {
  /** A new account that may be used at once. `passwordHash` is a PHC string. */
  static signUp(account: Pick<User, 'email' | 'passwordHash' | 'displayName' | 'role' | 'timeZone'>, now: Date): User {
    return Object.assign(new User(), {
      ...account,
      id: uuid(),
      email: normalEmail(account.email),
      displayName: account.displayName.trim(),
      state: 'ACTIVE',
      failedSignIns: 0,
      signInBlockedUntil: null,
      createdAt: now,
      updatedAt: now,
    });
  }

  /** Whether tries at the password wait now. */
  signInBlocked(now: Date): boolean {
    return this.signInBlockedUntil !== null && this.signInBlockedUntil !== undefined && this.signInBlockedUntil > now;
  }

  /** Counts a wrong password: from the fifth on, the next try waits 2, 4, 8 … seconds, at most 15 minutes; never for ever. */
  signInFailed(now: Date): void {
    this.failedSignIns += 1;
    const over = this.failedSignIns - FREE_TRIES + 1;
    if (over < 1) return;
    this.signInBlockedUntil = new Date(now.getTime() + 1000 * Math.min(2 ** Math.min(over, 20), LONGEST_BLOCK_S));
  }

  /** Forgets wrong passwords after a right one. */
  signInSucceeded(): void {
    this.failedSignIns = 0;
    this.signInBlockedUntil = null;
  }

  suspend(now: Date): void {
    if (this.state === 'SUSPENDED') return;
    this.state = 'SUSPENDED';
    this.updatedAt = now;
  }

  reinstate(now: Date): void {
    if (this.state === 'ACTIVE') return;
    this.state = 'ACTIVE';
    this.updatedAt = now;
  }

  rename(displayName: string, now: Date): void {
    this.displayName = displayName.trim();
    this.updatedAt = now;
  }

  /** `timeZone` is an IANA name that was checked. */
  moveTo(timeZone: string, now: Date): void {
    this.timeZone = timeZone;
    this.updatedAt = now;
  }

  changePassword(passwordHash: string, now: Date): void {
    this.passwordHash = passwordHash;
    this.updatedAt = now;
  }
}
UserSchema.setClass(User);

/** The form in which e-mail addresses are kept and compared. */
export function normalEmail(email: string): string {
  return email.normalize('NFC').toLowerCase();
}
