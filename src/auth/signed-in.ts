import type { Work } from '../db/work.ts';
import { networkOf } from '../network.ts';
import { RefreshToken } from './refresh-token.entity.ts';
import { Session } from './session.entity.ts';
import { SignInPlace } from './sign-in-place.entity.ts';
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

/** The place that the call comes from, of which nothing was known for this account. */
export function newPlace({ em, call }: Work, userId: string, now: Date): SignInPlace {
  const place = SignInPlace.first(userId, networkOf(call.clientAddress), now);
  em.persist(place);
  return place;
}
