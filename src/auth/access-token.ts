import { type KeyObject, randomUUID } from 'node:crypto';
import { errors, type JWTHeaderParameters, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import type { Caller, RoleName } from '../caller.ts';
import { Fault } from '../fault.ts';
import { CLOCK_TOLERANCE_MS, type SigningKeys, TOKEN_LIFE_MS } from './signing-keys.ts';

export interface IssuedAccessToken {
  readonly token: string;
  /** Ten minutes from now, in whole seconds. */
  readonly expiresAt: Date;
}

/** Access tokens: ES256 JWTs of type `at+jwt` (RFC 9068) with iss, aud, sub, sid, role, jti, iat and exp. */
export interface AccessTokens {
  issue(caller: Caller): Promise<IssuedAccessToken>;
  /**
   * Who the token was issued to; a promise of it where it isn't remembered. Rejects with TOKEN_EXPIRED for a token of ours whose time is over by more than 5 s, and
   * TOKEN_INVALID for everything else. Whether the session still lives is not asked here.
   */
  verify(token: string): Caller | Promise<Caller>;
}

export interface AccessTokensOptions {
  readonly keys: Pick<SigningKeys, 'signer' | 'verificationKey'>;
  /** The `iss` and `aud` of our tokens; no others are taken. */
  readonly issuer: string;
  readonly audience: string;
  readonly now: () => Date;
}

interface Verified {
  readonly caller: Caller;
  readonly kid: string;
  readonly key: KeyObject | undefined;
  /** The last moment at which it is taken, milliseconds since 1970. */
  readonly takenUntil: number;
}

const REMEMBERED = 10_000;
const LONGEST_TOKEN = 2_048;
/** Three parts, the last a 64-byte signature in the only spelling that it has. */
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ROLES: readonly unknown[] = ['PATIENT', 'DOCTOR', 'ADMINISTRATOR'] satisfies RoleName[];
const CLAIMS = ['iss', 'aud', 'sub', 'sid', 'role', 'jti', 'iat', 'exp'];

/**
 * Issues and verifies. The 10,000 tokens used last are remembered by their whole text, because a signature costs a
 * thousand times what a look-up does; a remembered one is still refused when its time or its key's time is over.
 */
export function createAccessTokens({ keys, issuer, audience, now }: AccessTokensOptions): AccessTokens {
  const remembered = new LRUCache<string, Verified>({ max: REMEMBERED });

  async function verifyAfresh(token: string): Promise<Caller> {
    const at = now();
    const verified = await verifySigned(token, { keys, issuer, audience, at });
    remembered.set(token, verified);
    return verified.caller;
  }
  return {
    async issue({ userId, sessionId, role }) {
      const at = now();
      const { kid, privateKey } = keys.signer(at);
      const iat = Math.floor(+at / 1000);
      const exp = iat + TOKEN_LIFE_MS / 1000;
      const claims = { iss: issuer, aud: audience, sub: userId, sid: sessionId, role, jti: randomUUID(), iat, exp };
      const token = await new SignJWT(claims).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid }).sign(privateKey);
      return { token, expiresAt: new Date(exp * 1000) };
    },
    verify(token) {
      const known = remembered.get(token);
      if (!known || known.key !== keys.verificationKey(known.kid)) return verifyAfresh(token);
      if (+now() < known.takenUntil) return known.caller;
      remembered.delete(token);
      return Promise.reject(expired());
    },
  };
}

type Expected = Omit<AccessTokensOptions, 'now'> & { readonly at: Date };

async function verifySigned(token: string, { keys, issuer, audience, at }: Expected): Promise<Verified> {
  if (token.length > LONGEST_TOKEN || !COMPACT.test(token)) throw invalid();
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keyFrom(keys), {
      algorithms: ['ES256'],
      typ: 'at+jwt',
      issuer,
      audience,
      requiredClaims: CLAIMS,
      maxTokenAge: TOKEN_LIFE_MS / 1000,
      clockTolerance: CLOCK_TOLERANCE_MS / 1000,
      currentDate: at,
    });
    mustBeSpelledOurWay(token, [protectedHeader, payload]);
    const kid = String(protectedHeader.kid);
    const takenUntil = Number(payload.exp) * 1000 + CLOCK_TOLERANCE_MS;
    return { caller: callerFrom(payload), kid, key: keys.verificationKey(kid), takenUntil };
  } catch (cause) {
    throw cause instanceof errors.JWTExpired ? expired() : invalid(cause);
  }
}

/** Our key of the name in the header. One that has more than we write - a key, an address of keys, a demand - is refused. */
function keyFrom(keys: Expected['keys']): (header: JWTHeaderParameters) => KeyObject {
  return ({ alg: _, typ: __, kid, ...more }) => {
    const key = typeof kid === 'string' && Object.keys(more).length === 0 ? keys.verificationKey(kid) : undefined;
    if (!key) throw new Error('no key of ours');
    return key;
  };
}

/** What is signed says one thing in one way: no member twice, no blanks, no spare bits, for no two readers to differ on. */
function mustBeSpelledOurWay(token: string, said: readonly [header: object, payload: object]): void {
  const spelled = said.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  if (!token.startsWith(`${spelled.join('.')}.`)) throw new Error('not our spelling');
}

function callerFrom({ sub, sid, role, jti, iat, exp }: JWTPayload): Caller {
  if (!isUuid(sub) || !isUuid(sid) || !isRole(role)) throw new Error('not a caller');
  if (typeof jti !== 'string' || !Number.isInteger(iat) || !Number.isInteger(exp)) throw new Error('not our claims');
  if (Number(exp) - Number(iat) > TOKEN_LIFE_MS / 1000) throw new Error('it lives longer than any of ours');
  return Object.freeze({ userId: sub, sessionId: sid, role });
}

function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value);
}

function isRole(value: unknown): value is RoleName {
  return ROLES.includes(value);
}

function invalid(cause?: unknown): Fault {
  return new Fault('TOKEN_INVALID', 'the access token is not valid', { cause });
}

function expired(): Fault {
  return new Fault('TOKEN_EXPIRED', 'the access token has expired');
}
