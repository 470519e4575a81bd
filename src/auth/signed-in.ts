import type { Work } from '../db/work.ts';
import { RefreshToken } from './refresh-token.entity.ts';
import { Session } from './session.entity.ts';
import type { User } from './user.entity.ts';

/** A session with the refresh token that its client gets; the access token is made outside the transaction. */
export interface SignedIn {
  readonly user: User;
  readonly session: Session;
  readonly refreshToken: string;
}

/** Begins a session of the user on the calling device. */
export function beginSession({ em, call, about }: Work, user: User, now: Date): SignedIn {
  const device = { userAgent: call.userAgent, clientAddress: call.clientAddress };
  const session = Session.begin(user.id, { role: user.role, device, now });
  const { entity, token } = RefreshToken.issue(session.id, now);
  em.persist([session, entity]);
  about({ sessionId: session.id });
  return { user, session, refreshToken: token };
}
