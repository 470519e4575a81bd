import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import {
  type SessionInfo,
  SessionInfoSchema,
  type Session as SessionMessage,
  SessionSchema,
  type User as UserMessage,
  UserSchema,
  UserState,
} from '../../gen/amrutam/auth/v1/auth_pb.ts';
import type { IssuedAccessToken } from './access-token.ts';
import type { Session } from './session.entity.ts';
import type { SignedIn } from './signed-in.ts';
import type { User } from './user.entity.ts';

/** An account as its owner sees it. */
export function userMessage(user: User): UserMessage {
  const { id, email, displayName, role, state, timeZone, createdAt, emailVerifiedAt } = user;
  return create(UserSchema, {
    id,
    email,
    displayName,
    role: Role[role],
    state: UserState[state],
    timeZone,
    createTime: timestampFromDate(createdAt),
    emailVerified: emailVerifiedAt !== null,
  });
}

/** A session with its tokens, for the one who has just signed in. */
export function sessionMessage({ user, session, refreshToken }: SignedIn, access: IssuedAccessToken): SessionMessage {
  return create(SessionSchema, {
    id: session.id,
    accessToken: access.token,
    accessTokenExpireTime: timestampFromDate(access.expiresAt),
    refreshToken,
    refreshTokenExpireTime: timestampFromDate(session.idleExpiresAt),
    user: userMessage(user),
  });
}

/** A session in its owner's list; `currentId` is the one that asks. */
export function sessionInfoMessage(session: Session, currentId: string): SessionInfo {
  return create(SessionInfoSchema, {
    id: session.id,
    createTime: timestampFromDate(session.createdAt),
    lastRefreshTime: timestampFromDate(session.refreshedAt),
    expireTime: timestampFromDate(session.idleExpiresAt),
    userAgent: session.userAgent,
    clientAddress: session.clientAddress,
    current: session.id === currentId,
  });
}
