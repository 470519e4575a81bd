import type { EntityManager } from '@mikro-orm/postgresql';
import { type Sql, sql } from '../db/sql.ts';
import { row } from '../db/statement.ts';
import type { TokenKind } from './mail.entity.ts';
import { hashMailToken } from './mail-token.ts';

/** A token as a client sends it, and what it is to be for. */
export interface SentToken {
  readonly kind: TokenKind;
  readonly token: string;
}

/** The user to whom a token was sent that is still valid at `now`; undefined else. Throws MAIL_TOKEN_INVALID for a text that is none. */
export async function tokenOwner(em: EntityManager, sent: SentToken, now: Date): Promise<string | undefined> {
  const found = await row<{ user_id: string }>(em, ownerOf(sent, sql`mail_token.expires_at > ${now}`));
  return found?.user_id;
}

/** The query for whom a token was sent to, be it valid or not, as long as it was neither used nor followed by another. */
export function ownerOf({ kind, token }: SentToken, valid: Sql = sql`TRUE`): Sql {
  return sql`SELECT user_id FROM mail_token JOIN mail ON mail.id = mail_id
    WHERE token_hash = ${hashMailToken(token)} AND kind = ${kind} AND ${valid}`;
}
