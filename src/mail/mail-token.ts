import { createHash, randomBytes } from 'node:crypto';
import { Fault } from '../fault.ts';

/** A token for a mail, and what is kept of it. */
export interface NewMailToken {
  /** 32 random bytes as base64url, 43 characters. */
  readonly token: string;
  /** SHA-256 of the bytes, 32 bytes. */
  readonly hash: Buffer;
}

/** 32 bytes have one spelling: the last character carries four bits. */
const TOKEN = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/** A token that nobody can guess. */
export function newMailToken(): NewMailToken {
  const bytes = randomBytes(32);
  return { token: bytes.toString('base64url'), hash: sha256(bytes) };
}

/** What is kept of this token, 32 bytes. Throws MAIL_TOKEN_INVALID for a text that is none. */
export function hashMailToken(token: string): Buffer {
  if (!TOKEN.test(token)) throw mailTokenInvalid();
  return sha256(Buffer.from(token, 'base64url'));
}

export function mailTokenInvalid(): Fault {
  return new Fault('MAIL_TOKEN_INVALID', 'the token is not valid (any more): ask for a new one');
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}
