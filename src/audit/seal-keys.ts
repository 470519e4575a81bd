import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { makeWhole, replaceWhole } from '../whole-file.ts';
import { signedBytes } from './seal.ts';

/** Makes signatures with the key that signs now. */
export interface SealSigner {
  readonly kid: string;
  sign(root: Buffer): Buffer;
}

/** Keys of seals: the first signs, all verify. */
export interface SealKeys extends SealSigner {
  /** Whether that key has signed the root; undefined when there is no key of that name. */
  verifies(kid: string, root: Buffer, signature: Buffer): boolean | undefined;
}

/**
 * Makes a file with one new key, readable by its owner only: a JWK Set (RFC 7517) of Ed25519 keys (RFC 8037). An existing file stays
 * as it is. Its folder must exist.
 */
export async function createSealKeyFile(file: string): Promise<void> {
  await makeWhole(file, textOf([await newKey()]));
}

/**
 * Puts a new key in front of the others, which from now on only verify: their private parts are taken out, so that nobody who gets
 * hold of the file later can sign as they did. Answers the names, the new one first. Throws an Error naming AUDIT_KEYS_FILE.
 */
export async function rotateSealKeys(file: string): Promise<readonly string[]> {
  const before = await readSet(file);
  const keys = [await newKey(), ...before.map(({ d: _, ...open }) => open)];
  await replaceWhole(file, textOf(keys));
  return keys.map(({ kid }) => kid);
}

/** Reads the keys as they stand now: a file that was replaced counts at once. Throws an Error naming AUDIT_KEYS_FILE, quoting no key. */
export async function readSealKeys(file: string): Promise<SealKeys> {
  const set = await readSet(file);
  const [first] = set as [SealJwk];
  const known = new Map(set.map((jwk) => [jwk.kid, publicKey(jwk) as KeyObject]));
  const own = createPrivateKey({ key: first, format: 'jwk' });
  return {
    kid: first.kid,
    sign: (root) => sign(null, signedBytes(root), own),
    verifies(kid, root, signature) {
      const key = known.get(kid);
      return key && verify(null, signedBytes(root), key, signature);
    },
  };
}

/** No key at all: nothing can be verified. */
export const NO_KEYS: Pick<SealKeys, 'verifies'> = { verifies: () => undefined };

type SealJwk = JWK & { readonly kid: string };

async function newKey(): Promise<SealJwk> {
  const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) as JWK;
  return { kid: await calculateJwkThumbprint(jwk), alg: 'EdDSA', use: 'sig', ...jwk };
}

function textOf(keys: readonly SealJwk[]): string {
  return `${JSON.stringify({ keys }, null, 2)}\n`;
}

async function readSet(file: string): Promise<readonly SealJwk[]> {
  const bad = (what: string) => fail(`AUDIT_KEYS_FILE: ${file}: ${what}`);
  const text = await readFile(file, 'utf8').catch(({ message }: Error) => bad(`it can't be read: ${message}`));
  const entries = entriesOf(text);
  if (!entries) return bad('expected a JWK Set in JSON: {"keys": [{"kty": "OKP", "crv": "Ed25519", …}]}');
  if (entries.length === 0) return bad('there is no key in it');
  const keys = entries.map((entry, index) => keyOf(entry, (what) => bad(`keys[${index}] ${what}`)));
  const twice = keys.find(({ kid }, index) => keys.findIndex((key) => key.kid === kid) !== index);
  if (twice) return bad(`two keys have the kid ${JSON.stringify(twice.kid)}`);
  return keys[0]?.d === undefined ? bad('keys[0] must be a private key, with d: it signs') : keys;
}

/** The members of the set, undefined when it is none. JSON.parse's own message would quote the file. */
function entriesOf(text: string): readonly unknown[] | undefined {
  try {
    const { keys } = JSON.parse(text) as { readonly keys?: unknown };
    return Array.isArray(keys) ? keys : undefined;
  } catch {
    return undefined;
  }
}

function keyOf(entry: unknown, bad: (what: string) => never): SealJwk {
  const jwk = (typeof entry === 'object' ? entry : undefined) as JWK | undefined | null;
  if (!jwk) return bad('is not an object');
  const { kid, kty, crv, alg = 'EdDSA', use = 'sig', x, d } = jwk;
  if (typeof kid !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(kid))
    return bad('needs a kid of 1 to 128 visible characters');
  if (kty !== 'OKP' || crv !== 'Ed25519' || alg !== 'EdDSA' || use !== 'sig')
    return bad('must be of kty "OKP", crv "Ed25519", alg "EdDSA", use "sig"');
  if (typeof x !== 'string' || (d !== undefined && typeof d !== 'string')) return bad('needs x, and d to sign');
  if (!publicKey(jwk) || (d !== undefined && !belongs(jwk)))
    return bad('is not an Ed25519 key, or its x belongs to another d');
  return { ...jwk, kid };
}

function publicKey({ kty, crv, x }: JWK): KeyObject | undefined {
  try {
    return createPublicKey({ key: { kty, crv, x } as JWK, format: 'jwk' });
  } catch {
    return undefined;
  }
}

/** Node takes any `d` with any `x`, so a signature is tried. */
function belongs(jwk: JWK): boolean {
  try {
    const trial = Buffer.from('trial');
    const signature = sign(null, trial, createPrivateKey({ key: jwk, format: 'jwk' }));
    return verify(null, trial, publicKey(jwk) as KeyObject, signature);
  } catch {
    return false;
  }
}

function fail(message: string): never {
  throw new Error(message);
}
