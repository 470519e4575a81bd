import { randomUUIDv7 as uuid } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';
import { type NewRefreshToken, newRefreshToken, openChild, sealChild } from './refresh-token.ts';

export const RefreshTokenSchema = defineEntity({
  name: 'RefreshToken',
  tableName: 'refresh_token',
  properties: {
    id: p.uuid().primary(),
    sessionId: p.uuid(),
    /** SHA-256; the token itself is never kept. */
    tokenHash: p.blob(),
    issuedAt: p.datetime(),
    replacedAt: p.datetime().nullable(),
    /** The next token, for whoever has this one. */
    sealedChild: p.blob().nullable(),
  },
});

/** How long a lost answer can be asked for again. */
const GRACE_MS = 10_000;

/** A refresh token that was given out. Used once, it is replaced by its child. */
export class RefreshToken extends RefreshTokenSchema.class {
  /** A new token of a session, and its text for the client. */
  static issue(
    sessionId: string,
    now: Date,
    made: NewRefreshToken = newRefreshToken(),
  ): { entity: RefreshToken; token: string } {
    const entity = Object.assign(new RefreshToken(), {
      id: uuid(),
      sessionId,
      tokenHash: made.hash,
      issuedAt: now,
      replacedAt: null,
      sealedChild: null,
    });
    return { entity, token: made.token };
  }

  /** Replaces this token, whose text is `token`, by a new one. */
  rotate(token: string, now: Date): { entity: RefreshToken; token: string } {
    const child = RefreshToken.issue(this.sessionId, now);
    this.replacedAt = now;
    this.sealedChild = sealChild(token, child.token);
    return child;
  }

  /** The child again, as long as an answer may have been lost; undefined later. Whether the child is still unused is asked apart. */
  childAgain(token: string, now: Date): string | undefined {
    if (!this.replacedAt || !this.sealedChild) return undefined;
    if (now.getTime() - this.replacedAt.getTime() > GRACE_MS) return undefined;
    return openChild(token, this.sealedChild);
  }
}
RefreshTokenSchema.setClass(RefreshToken);
