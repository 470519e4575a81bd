import { sql } from '../db/sql.ts';
import { row, rows } from '../db/statement.ts';
import { lockRows, type Work } from '../db/work.ts';
import { Fault } from '../fault.ts';
import { RefreshToken } from './refresh-token.entity.ts';
import { hashRefreshToken } from './refresh-token.ts';
import { Session } from './session.entity.ts';
import type { SignedIn } from './signed-in.ts';
import { User } from './user.entity.ts';

/**
 * Exchanges a refresh token for its child. Within 10 s the same token gets the same child again, as long as that one is
 * unused. Any other reuse means that two hold the token, and ends the session: SESSION_REVOKED, put on record.
 * Throws TOKEN_INVALID, TOKEN_EXPIRED, SESSION_REVOKED, ACCOUNT_SUSPENDED.
 */
export async function refreshSession(work: Work, token: string): Promise<SignedIn | Fault> {
  const hash = hashRefreshToken(token);
  const {
    sessions: [session],
    users: [user],
    now,
  } = await work.lock({
    sessions: lockRows(
      Session,
      () =>
        sql`SELECT * FROM session WHERE id = (SELECT session_id FROM refresh_token WHERE token_hash = ${hash}) FOR NO KEY UPDATE`,
    ),
    users: lockRows(User, () => sql`SELECT * FROM app_user WHERE id = (SELECT user_id FROM sessions)`),
  });
  const used = session && (await findToken(work, hash));
  if (!session || !user || !used) throw new Fault('TOKEN_INVALID', 'the refresh token is not valid');
  if (user.state === 'SUSPENDED') throw new Fault('ACCOUNT_SUSPENDED', 'the account is suspended');
  session.mustLive(user.role, now);

  const next = used.replacedAt ? await sameAgain(work, { used, token, now }) : await rotate(work, { used, token, now });
  if (!next) {
    work.about({ entityType: 'session', entityId: session.id, actor: { userId: user.id, role: user.role } });
    session.end(now);
    return new Fault('SESSION_REVOKED', 'the refresh token was used before: the session has ended');
  }
  session.refresh(user.role, now);
  return { user, session, refreshToken: next };
}

interface Use {
  readonly used: RefreshToken;
  readonly token: string;
  readonly now: Date;
}

async function rotate({ em }: Work, { used, token, now }: Use): Promise<string> {
  // The answer that an older token's child was kept for has arrived.
  await rows(
    em,
    sql`UPDATE refresh_token SET sealed_child = NULL WHERE session_id = ${used.sessionId} AND sealed_child IS NOT NULL`,
  );
  const child = used.rotate(token, now);
  em.persist(child.entity);
  return child.token;
}

async function sameAgain(work: Work, { used, token, now }: Use): Promise<string | undefined> {
  const again = used.childAgain(token, now);
  const child = again === undefined ? undefined : await findToken(work, hashRefreshToken(again));
  return child && !child.replacedAt ? again : undefined;
}

/** Read after the session was locked, so that its latest state counts. */
async function findToken({ em }: Work, hash: Buffer): Promise<RefreshToken | undefined> {
  const found = await row<object>(em, sql`SELECT * FROM refresh_token WHERE token_hash = ${hash}`);
  return found && em.map(RefreshToken, found);
}
