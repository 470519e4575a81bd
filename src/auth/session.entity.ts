import { randomUUIDv7 as uuid } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';
import type { RoleName } from '../caller.ts';
import { Fault } from '../fault.ts';

export const SessionSchema = defineEntity({
  name: 'Session',
  tableName: 'session',
  properties: {
    id: p.uuid().primary(),
    userId: p.uuid(),
    /** The client's description of itself at sign-in. */
    userAgent: p.text(),
    clientAddress: p.text(),
    createdAt: p.datetime(),
    refreshedAt: p.datetime(),
    /** The end, unless it is refreshed before. */
    idleExpiresAt: p.datetime(),
    /** The end in any case. */
    expiresAt: p.datetime(),
    revokedAt: p.datetime().nullable(),
  },
});

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** How long a session lives unused, and at most: the more a role can do, the shorter. */
const LIFE: Readonly<Record<RoleName, { readonly idleMs: number; readonly absoluteMs: number }>> = {
  PATIENT: { idleMs: 7 * DAY_MS, absoluteMs: 30 * DAY_MS },
  DOCTOR: { idleMs: 12 * HOUR_MS, absoluteMs: 7 * DAY_MS },
  ADMINISTRATOR: { idleMs: 30 * MINUTE_MS, absoluteMs: 8 * HOUR_MS },
};

/** Where a session was begun. */
export type Device = Pick<Session, 'userAgent' | 'clientAddress'>;

/** One sign-in on one device. */
export class Session extends SessionSchema.class {
  static begin(userId: string, { role, device, now }: { role: RoleName; device: Device; now: Date }): Session {
    const { idleMs, absoluteMs } = LIFE[role];
    return Object.assign(new Session(), {
      ...device,
      id: uuid(),
      userId,
      createdAt: now,
      refreshedAt: now,
      idleExpiresAt: new Date(now.getTime() + idleMs),
      expiresAt: new Date(now.getTime() + absoluteMs),
      revokedAt: null,
    });
  }

  /**
   * Throws SESSION_REVOKED or TOKEN_EXPIRED when tokens can't be had of it any more. `role` is the user's of today: one who
   * has been given more to do since the sign-in has less time.
   */
  mustLive(role: RoleName, now: Date): void {
    if (this.revokedAt) throw new Fault('SESSION_REVOKED', 'the session has ended');
    const { idleMs, absoluteMs } = LIFE[role];
    const ends = [this.idleExpiresAt, this.expiresAt, +this.refreshedAt + idleMs, +this.createdAt + absoluteMs];
    if (+now >= Math.min(...ends.map(Number))) throw new Fault('TOKEN_EXPIRED', 'the session has run out');
  }

  /** Puts the end off, but never past the absolute one. */
  refresh(role: RoleName, now: Date): void {
    this.refreshedAt = now;
    this.idleExpiresAt = new Date(Math.min(now.getTime() + LIFE[role].idleMs, this.expiresAt.getTime()));
  }

  /** Ending it again changes nothing. */
  end(now: Date): void {
    this.revokedAt ??= now;
  }
}
SessionSchema.setClass(Session);
