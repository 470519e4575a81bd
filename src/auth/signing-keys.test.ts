import { generateKeyPairSync, type JsonWebKey } from 'node:crypto';
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { openSigningKeys, type SigningKeys } from './signing-keys.ts';

const RELOAD_MS = 10;
/** From when a key is first seen until it signs: a reload and the minute for which others may cache the set. */
const SETTLING_MS = RELOAD_MS + 60_000;
/** From when a key is found gone until it no longer verifies: a reload, a token's life and 5 s for the clocks. */
const KEPT_MS = RELOAD_MS + 605_000;

const [a, b, c] = [jwk('a'), jwk('b'), jwk('c')];
let folder: string;
let file: string;
let clock: number;
let errors: Error[];
let warnings: string[];
const opened: SigningKeys[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signing-keys-'));
  file = join(folder, 'keys.json');
  clock = Date.now() + 3_600_000;
  errors = [];
  warnings = [];
});
afterEach(async () => {
  for (const keys of opened.splice(0)) keys.close();
  await rm(folder, { recursive: true });
});

test('the first key signs, and every key in the file verifies', async () => {
  await put(a, b);
  const keys = await openKeys();
  expect(signerOf(keys)).toBe('a');
  expect(keys.verificationKey('a')?.type).toBe('public');
  expect(keys.verificationKey('b')?.export({ format: 'jwk' })).toEqual({ kty: 'EC', crv: 'P-256', x: b.x, y: b.y });
  expect(keys.verificationKey('c')).toBeUndefined();
  expect(keys.verificationKey('')).toBeUndefined();
});

test('the published set has the public members and nothing else, current first', async () => {
  await put(a, b);
  const keys = await openKeys();
  const published = (key: JsonWebKey) => ({
    kid: key.kid,
    kty: 'EC',
    crv: 'P-256',
    x: key.x,
    y: key.y,
    alg: 'ES256',
    use: 'sig',
  });
  expect(keys.jwks()).toEqual({ keys: [published(a), published(b)] });
  expect(JSON.stringify(keys.jwks())).not.toContain(a.d);
});

test('nobody changes the set through what it is given', async () => {
  await put(a);
  const keys = await openKeys();
  const [key] = keys.jwks().keys;
  if (key) key.kid = 'changed';
  keys.jwks().keys.pop();
  expect(keys.jwks().keys).toMatchObject([{ kid: 'a' }]);
});

test('a key is published before it signs', async () => {
  await put(a);
  const keys = await openKeys();
  await put(b, a);
  await until(() => keys.verificationKey('b') !== undefined);
  expect(keys.jwks().keys.map(({ kid }) => kid)).toEqual(['b', 'a']);
  expect(signerOf(keys)).toBe('a');
  clock += SETTLING_MS - 1;
  expect(signerOf(keys)).toBe('a');
  clock += 1;
  expect(signerOf(keys)).toBe('b');
});

test('it waits from when it was first seen, however often the file is read and moved about meanwhile', async () => {
  await put(a);
  const keys = await openKeys();
  await put(a, b);
  await until(() => keys.verificationKey('b') !== undefined);
  clock += SETTLING_MS;
  expect(signerOf(keys)).toBe('a');
  await put(b, a);
  await until(() => keys.jwks().keys[0]?.kid === 'b');
  expect(signerOf(keys)).toBe('b');
});

test('the only key signs at once, and the one it replaced never again', async () => {
  await put(a);
  const keys = await openKeys();
  await put(b);
  await until(() => keys.verificationKey('b') !== undefined);
  expect(signerOf(keys)).toBe('b');
});

test('a process that starts just after a rotation signs with the older key until the new one has settled', async () => {
  await put(b, a);
  clock = Date.now();
  const keys = await openKeys();
  expect(signerOf(keys)).toBe('a');
  clock += SETTLING_MS;
  expect(signerOf(keys)).toBe('b');
});

test('a single key signs from the first moment, even with a clock that is behind', async () => {
  await put(a);
  clock = Date.now() - 3_600_000;
  expect(signerOf(await openKeys())).toBe('a');
});

test('a file from the future keeps the front key waiting no longer than one from now', async () => {
  await put(b, a);
  clock = Date.now() - 3_600_000;
  const keys = await openKeys();
  expect(signerOf(keys)).toBe('a');
  clock += SETTLING_MS;
  expect(signerOf(keys)).toBe('b');
});

test('a removed key verifies and stays published until the last token it may have signed has expired', async () => {
  await put(a, b);
  const keys = await openKeys();
  const before = keys.verificationKey('a');
  await put(b);
  await until(() => signerOf(keys) === 'b');
  clock += KEPT_MS - 1;
  expect(keys.verificationKey('a')).toBe(before);
  expect(keys.jwks().keys.map(({ kid }) => kid)).toEqual(['b', 'a']);
  clock += 1;
  expect(keys.verificationKey('a')).toBeUndefined();
  expect(keys.jwks().keys.map(({ kid }) => kid)).toEqual(['b']);
});

test('the time of a removed key runs from its removal, not from the latest reading', async () => {
  await put(a, b);
  const keys = await openKeys();
  await put(b);
  await until(() => signerOf(keys) === 'b');
  clock += KEPT_MS - 1;
  await put(b, c);
  await until(() => keys.verificationKey('c') !== undefined);
  clock += 1;
  expect(keys.verificationKey('a')).toBeUndefined();
});

test('a key that comes back is as if it had never gone', async () => {
  await put(a, b);
  const keys = await openKeys();
  await put(b);
  await until(() => signerOf(keys) === 'b');
  await put(a, b);
  await until(() => signerOf(keys) === 'a');
  clock += KEPT_MS;
  expect(keys.verificationKey('a')).toBeDefined();
});

test('verification keys stay the same objects while the file is read again', async () => {
  await put(a);
  const keys = await openKeys();
  const before = keys.verificationKey('a');
  await put(b, a);
  await until(() => keys.verificationKey('b') !== undefined);
  expect(keys.verificationKey('a')).toBe(before);
});

test.each([
  ['half written', '{"keys": [{"kty":'],
  ['emptied', '{"keys": []}'],
  ['with another key under a known name', JSON.stringify({ keys: [{ ...b, kid: 'a' }] })],
])('a file %s keeps the old keys, says so, and recovers by itself', async (_kind, text) => {
  await put(a);
  const keys = await openKeys();
  const before = keys.verificationKey('a');
  await replaceWith(text);
  await until(() => errors.length > 1);
  expect(errors[0]?.message).toMatch(/^JWT_KEYS_FILE: /);
  expect(signerOf(keys)).toBe('a');
  expect(keys.verificationKey('a')).toBe(before);
  await put(a, b);
  await until(() => keys.verificationKey('b') !== undefined);
});

test('a file that is gone for a while is no outage', async () => {
  await put(a);
  const keys = await openKeys();
  await rm(file);
  await until(() => errors.length > 0);
  expect(errors[0]?.message).toContain('ENOENT');
  expect(signerOf(keys)).toBe('a');
  await put(a, b);
  await until(() => keys.verificationKey('b') !== undefined);
});

test('a start without a usable file fails with the variable, the path and the fault', async () => {
  await expect(openKeys()).rejects.toThrow(`JWT_KEYS_FILE: ${file} cannot be read: ENOENT`);
  await replaceWith('{"keys": []}');
  await expect(openKeys()).rejects.toThrow(`JWT_KEYS_FILE: ${file}: there is no key in it`);
});

test('a file that others may read or change is told of once, and again when that changes', async () => {
  await put(a);
  await openKeys();
  expect(warnings).toEqual([]);
  await chmod(file, 0o644);
  await until(() => warnings.length > 0);
  expect(warnings[0]).toMatch(/^JWT_KEYS_FILE: .*keys\.json has mode 0644/);
  await new Promise((resolve) => setTimeout(resolve, 10 * RELOAD_MS));
  expect(warnings).toHaveLength(1);
  await chmod(file, 0o660);
  await until(() => warnings.length === 2);
});

test('a file that only its group may read, as Kubernetes mounts one, is fine', async () => {
  await put(a);
  await chmod(file, 0o640);
  await openKeys();
  expect(warnings).toEqual([]);
});

test('after close the file is not read again', async () => {
  await put(a);
  const keys = await openKeys();
  keys.close();
  await put(b, a);
  await new Promise((resolve) => setTimeout(resolve, 10 * RELOAD_MS));
  expect(keys.verificationKey('b')).toBeUndefined();
  expect(signerOf(keys)).toBe('a');
});

function jwk(kid: string): JsonWebKey {
  return { ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }), kid };
}

function put(...keys: JsonWebKey[]): Promise<void> {
  return replaceWith(JSON.stringify({ keys }));
}

async function replaceWith(text: string): Promise<void> {
  await writeFile(`${file}.new`, text, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

async function openKeys(): Promise<SigningKeys> {
  const keys = await openSigningKeys({
    file,
    reloadMs: RELOAD_MS,
    now: () => new Date(clock),
    onError: (error) => errors.push(error),
    onWarning: (message) => warnings.push(message),
  });
  opened.push(keys);
  return keys;
}

function signerOf(keys: SigningKeys): string {
  return keys.signer(new Date(clock)).kid;
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !holds(); i += 1) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(holds()).toBe(true);
}
