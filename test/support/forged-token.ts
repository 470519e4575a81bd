import { createPrivateKey, type JsonWebKey, type KeyObject, randomUUID, sign } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Caller } from '../../src/caller.ts';

/** Members of a token in place of those that we write; undefined leaves one out. A text is the part as it stands. */
export interface Parts {
  readonly header?: Readonly<Record<string, unknown>> | string;
  readonly payload?: Readonly<Record<string, unknown>> | string;
}

/** A token that must be refused. */
export interface Forgery {
  readonly what: string;
  readonly token: string;
}

/** Writes tokens without any library, with the very key of the service: so each forgery has the one fault that it is about. */
export interface Mint {
  /** The unsigned half; by default of `caller` and for ten minutes from now. */
  unsigned(parts?: Parts): string;
  /** Signed with the service's key, or with another. */
  signed(parts?: Parts, key?: KeyObject): string;
  readonly kid: string;
  /** The published half of the key. */
  readonly published: JsonWebKey;
}

/** The mint of whoever has stolen the key file of a service. */
export async function mintOf(keysFile: string, caller: Caller): Promise<Mint> {
  const [jwk] = (JSON.parse(await readFile(keysFile, 'utf8')) as { keys: [JsonWebKey & { kid: string }] }).keys;
  const { d: _secret, ...published } = jwk;
  const ours = createPrivateKey({ key: jwk, format: 'jwk' });
  const unsigned = ({ header = {}, payload = {} }: Parts = {}) => {
    const iat = Math.floor(Date.now() / 1000);
    const { userId: sub, sessionId: sid, role } = caller;
    const claims = { iss: 'amrutam', aud: 'amrutam', sub, sid, role, jti: randomUUID(), iat, exp: iat + 600 };
    const part = (own: object, other: object | string) =>
      base64(typeof other === 'string' ? other : JSON.stringify({ ...own, ...other }));
    return `${part({ alg: 'ES256', typ: 'at+jwt', kid: jwk.kid }, header)}.${part(claims, payload)}`;
  };
  return {
    kid: jwk.kid,
    published,
    unsigned,
    signed: (parts, key = ours) => signedText(unsigned(parts), key),
  };
}

/** An ES256 signature as JWTs have it. */
function signedText(unsigned: string, key: KeyObject): string {
  const secret = { key, dsaEncoding: 'ieee-p1363' as const };
  return `${unsigned}.${sign('sha256', Buffer.from(unsigned), secret).toString('base64url')}`;
}

/** The text's bytes, Latin-1 unless it has other signs. */
export function base64(text: string): string {
  return Buffer.from(text, text.match(/[^\0-\xff]/) ? 'utf8' : 'latin1').toString('base64url');
}
