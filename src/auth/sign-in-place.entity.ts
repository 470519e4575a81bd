import { randomUUIDv7 as uuid } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';

export const SignInPlaceSchema = defineEntity({
  name: 'SignInPlace',
  tableName: 'sign_in_place',
  properties: {
    id: p.uuid().primary(),
    userId: p.uuid(),
    /** An IPv4 address, or an IPv6 network of 64 bits; see networkOf. */
    network: p.text(),
    /** Wrong passwords in a row from here. */
    failures: p.integer(),
    blockedUntil: p.datetime().nullable(),
    /** When the right password last came from here. */
    signedInAt: p.datetime().nullable(),
    seenAt: p.datetime(),
  },
});

/** Wrong passwords in a row before further tries wait. */
const FREE_TRIES = 5;
/** The same, from places that the account was never signed in from, while many places try it. */
const FREE_TRIES_UNDER_ATTACK = 1;
const LONGEST_BLOCK_S = 15 * 60;

/**
 * One account's tries at its password from one place. Waiting is for the place, so that nobody can lock the owner out from
 * elsewhere: a first try from any place is always looked at.
 */
export class SignInPlace extends SignInPlaceSchema.class {
  static first(userId: string, network: string, now: Date): SignInPlace {
    return Object.assign(new SignInPlace(), {
      id: uuid(),
      userId,
      network,
      failures: 0,
      blockedUntil: null,
      signedInAt: null,
      seenAt: now,
    });
  }

  /** Whether tries from here wait now. */
  blocked(now: Date): boolean {
    return !!this.blockedUntil && this.blockedUntil > now;
  }

  /** Counts a wrong password: after the free tries the next waits 2, 4, 8 … seconds, at most 15 minutes; never for ever. */
  failed(now: Date, { underAttack }: { underAttack: boolean }): void {
    this.failures += 1;
    this.seenAt = now;
    const free = underAttack && !this.signedInAt ? FREE_TRIES_UNDER_ATTACK : FREE_TRIES;
    const over = this.failures - free + 1;
    if (over < 1) return;
    this.blockedUntil = new Date(now.getTime() + 1000 * Math.min(2 ** Math.min(over, 20), LONGEST_BLOCK_S));
  }

  /** Forgets wrong passwords, since a new one was set from here: tries wait no more. */
  forgiven(now: Date): void {
    this.failures = 0;
    this.blockedUntil = null;
    this.seenAt = now;
  }

  /** Forgets wrong passwords after a right one. */
  succeeded(now: Date): void {
    this.forgiven(now);
    this.signedInAt = now;
  }
}
SignInPlaceSchema.setClass(SignInPlace);
