import { randomUUIDv7 as uuid } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';
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
    /** Wrong passwords since the last right one, from wherever they came. */
    failedSignIns: p.integer(),
    /** When a token that was sent to the address came back. */
    emailVerifiedAt: p.datetime().nullable(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

/** Wrong passwords, from all places together, from which on an account counts as under attack. */
const ATTACK = 50;

/** An account. No method changes its role. */
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
      emailVerifiedAt: null,
      createdAt: now,
      updatedAt: now,
    });
  }

  /** Whether so many wrong passwords came that nobody may simply have forgotten theirs. */
  get underAttack(): boolean {
    return this.failedSignIns >= ATTACK;
  }

  /** Counts a wrong password. */
  signInFailed(): void {
    this.failedSignIns += 1;
  }

  /** Forgets wrong passwords after a right one. */
  signInSucceeded(): void {
    this.failedSignIns = 0;
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

  /** The address is the user's own. Again changes nothing. */
  verifyEmail(now: Date): void {
    if (this.emailVerifiedAt) return;
    this.emailVerifiedAt = now;
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
