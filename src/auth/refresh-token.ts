import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { Fault } from '../fault.ts';

/** A refresh token for the client, and what is kept of it. */
export interface NewRefreshToken {
  /** 32 random bytes as base64url, 43 characters. */
  readonly token: string;
  /** SHA-256 of the bytes, 32 bytes. */
  readonly hash: Buffer;
}

/** 32 bytes have one spelling: the last character carries four bits. */
const TOKEN = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;
const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PURPOSE = 'amrutam refresh token: child sealed for its parent, v1';

/** A token that nobody can guess. */
export function newRefreshToken(): NewRefreshToken {
  const bytes = randomBytes(32);
  return { token: bytes.toString('base64url'), hash: sha256(bytes) };
}

/** What is kept of this token, 32 bytes. Throws TOKEN_INVALID for a text that is no refresh token. */
export function hashRefreshToken(token: string): Buffer {
  return sha256(bytesOf(token));
}

/**
 * The child token so that only who has the parent can read it: 60 bytes, nonce, AES-256-GCM and tag, under a key that
 * HKDF-SHA256 derives from the parent. Throws TOKEN_INVALID when either is no refresh token.
 */
export function sealChild(parentToken: string, childToken: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, keyFrom(parentToken), nonce, { authTagLength: TAG_BYTES });
  const sealed = Buffer.concat([cipher.update(bytesOf(childToken)), cipher.final()]);
  return Buffer.concat([nonce, sealed, cipher.getAuthTag()]);
}

/**
 * The child token that `sealChild` sealed. Throws TOKEN_INVALID when the parent is no refresh token, and an Error when it
 * is another than the one sealed for or when a byte was changed: the row was found by the parent's hash, so that is damage.
 */
export function openChild(parentToken: string, sealed: Uint8Array): string {
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const end = Math.max(sealed.length - TAG_BYTES, NONCE_BYTES);
  try {
    const decipher = createDecipheriv(CIPHER, keyFrom(parentToken), nonce, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(sealed.subarray(end));
    const child = Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, end)), decipher.final()]);
    return child.toString('base64url');
  } catch (cause) {
    if (cause instanceof Fault) throw cause;
    throw new Error('the sealed refresh token cannot be opened', { cause });
  }
}

function keyFrom(parentToken: string): Buffer {
  return Buffer.from(hkdfSync('sha256', bytesOf(parentToken), '', PURPOSE, 32));
}

function bytesOf(token: string): Buffer {
  if (!TOKEN.test(token)) throw new Fault('TOKEN_INVALID', 'the refresh token is not valid');
  return Buffer.from(token, 'base64url');
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}
