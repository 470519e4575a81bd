import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { open } from 'node:fs/promises';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import { makeWhole } from '../whole-file.ts';

/** One P-256 key; `jwk` has its public members only. */
export interface SigningKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: JWK;
}

/** What a key file holds, its permission bits, and when it was last changed or replaced (milliseconds since 1970). */
export interface KeyFile {
  readonly text: string;
  readonly mode: number;
  readonly changedAt: number;
}

/**
 * Makes a file with one new key, readable by its owner only. An existing file stays as it is, and of two who make it at
 * once one wins: when this resolves, the file is there and whole. Its folder must exist.
 */
export async function createKeyFile(path: string): Promise<void> {
  const set = { keys: [await newKey()] };
  await makeWhole(path, `${JSON.stringify(set, null, 2)}\n`);
}

/** A new private key as the file has it, named by its thumbprint. */
export async function newKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(privateKey);
  return { kid: await calculateJwkThumbprint(jwk), alg: 'ES256', use: 'sig', ...jwk };
}

/** Reads the file in one piece. Throws an Error naming JWT_KEYS_FILE. */
export async function readKeyFile(file: string): Promise<KeyFile> {
  try {
    await using handle = await open(file);
    const { mode, ctimeMs } = await handle.stat();
    return { text: await handle.readFile('utf8'), mode: mode & 0o777, changedAt: ctimeMs };
  } catch (cause) {
    throw new Error(`JWT_KEYS_FILE: ${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** The keys in their order, at least one. Throws an Error naming JWT_KEYS_FILE, `file` and what is wrong, quoting no key. */
export function parseKeys(text: string, file: string): readonly SigningKey[] {
  const bad = (what: string) => fail(`JWT_KEYS_FILE: ${file}: ${what}`);
  const entries = entriesOf(text);
  if (!entries) return bad('expected a JWK Set in JSON: {"keys": [{"kty": "EC", "crv": "P-256", …}]}');
  if (entries.length === 0) return bad('there is no key in it');
  const keys = entries.map((entry, index) => keyOf(entry, (what) => bad(`keys[${index}] ${what}`)));
  const twice = keys.find(({ kid }, index) => keys.findIndex((key) => key.kid === kid) !== index);
  return twice ? bad(`two keys have the kid ${JSON.stringify(twice.kid)}`) : keys;
}

/** The members of the set, undefined when it is none. JSON.parse's own message would quote the file. */
function entriesOf(text: string): readonly unknown[] | undefined {
  try {
    const set: unknown = JSON.parse(text);
    return isRecord(set) && Array.isArray(set.keys) ? set.keys : undefined;
  } catch {
    return undefined;
  }
}

function keyOf(entry: unknown, bad: (what: string) => never): SigningKey {
  if (!isRecord(entry)) return bad('is not an object');
  const { kid, kty, crv, x, y, d, alg = 'ES256', use = 'sig' } = entry;
  if (typeof kid !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(kid)) {
    return bad('needs a kid of 1 to 128 visible characters');
  }
  if (kty !== 'EC' || crv !== 'P-256' || alg !== 'ES256' || use !== 'sig') {
    return bad('must be of kty "EC", crv "P-256", alg "ES256", use "sig"');
  }
  if (typeof x !== 'string' || typeof y !== 'string' || typeof d !== 'string') {
    return bad('must be a private key, with x, y and d');
  }
  const privateKey = imported({ kty, crv, x, y, d }) ?? bad('is not a P-256 key, or its x and y belong to another d');
  return { kid, privateKey, publicKey: createPublicKey(privateKey), jwk: { kid, kty, crv, x, y, alg, use } };
}

/** Node takes any `d` with any point, so a signature is tried. */
function imported(jwk: JWK): KeyObject | undefined {
  try {
    const key = createPrivateKey({ key: jwk, format: 'jwk' });
    const trial = Buffer.from('trial');
    return verify('sha256', trial, createPublicKey(key), sign('sha256', trial, key)) ? key : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function fail(message: string): never {
  throw new Error(message);
}
