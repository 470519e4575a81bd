import { generateKeyPairSync, type JsonWebKey } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { calculateJwkThumbprint } from 'jose';
import { createKeyFile, parseKeys, readKeyFile } from './key-file.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keys-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('a made file holds one private P-256 key named by its thumbprint, for its owner only', async () => {
  const file = join(folder, 'made.json');
  await createKeyFile(file);
  const { keys } = JSON.parse(await readFile(file, 'utf8'));
  expect(keys).toHaveLength(1);
  expect(keys[0]).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig', d: expect.any(String) });
  expect(keys[0].kid).toBe(await calculateJwkThumbprint(keys[0]));
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(parseKeys(await readFile(file, 'utf8'), file)).toHaveLength(1);
});

test('twenty who make it at once get one file, whole, and leave nothing beside it', async () => {
  const own = await mkdtemp(join(folder, 'race-'));
  const file = join(own, 'keys.json');
  const seen = await Promise.all(
    Array.from({ length: 20 }, async () => {
      await createKeyFile(file);
      return readFile(file, 'utf8');
    }),
  );
  expect(new Set(seen).size).toBe(1);
  expect(parseKeys(seen[0] ?? '', file)).toHaveLength(1);
  expect(await readdir(own)).toEqual(['keys.json']);
});

test('an existing file is never overwritten', async () => {
  const file = join(folder, 'existing.json');
  await writeFile(file, 'mine');
  await createKeyFile(file);
  expect(await readFile(file, 'utf8')).toBe('mine');
});

test('a folder that is not there is an error', async () => {
  await expect(createKeyFile(join(folder, 'nowhere', 'keys.json'))).rejects.toThrow(/ENOENT/);
});

test('public members only leave the parser as such', () => {
  const [key] = parseKeys(JSON.stringify({ keys: [{ ...jwk(), kid: 'a', note: 'x' }] }), 'f');
  expect(Object.keys(key?.jwk ?? {}).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
});

const good = jwk();
const other = jwk();

test.each<[string, unknown, RegExp]>([
  ['no JSON', 'secret-material', /expected a JWK Set/],
  ['half a file', JSON.stringify({ keys: [{ ...good, kid: 'a' }] }).slice(0, -20), /expected a JWK Set/],
  ['an empty file', '', /expected a JWK Set/],
  ['null', null, /expected a JWK Set/],
  ['a single key', { ...good, kid: 'a' }, /expected a JWK Set/],
  ['keys that are no list', { keys: { a: good } }, /expected a JWK Set/],
  ['no key', { keys: [] }, /there is no key/],
  ['an entry that is no object', { keys: [7] }, /keys\[0] is not an object/],
  ['no kid', { keys: [good] }, /keys\[0] needs a kid/],
  ['an empty kid', { keys: [{ ...good, kid: '' }] }, /keys\[0] needs a kid/],
  ['a public key', { keys: [{ ...good, kid: 'a', d: undefined }] }, /keys\[0] must be a private key/],
  ['another curve', { keys: [{ ...jwk('P-384'), kid: 'a' }] }, /keys\[0] must be of kty "EC", crv "P-256"/],
  ['a shared secret', { keys: [{ kty: 'oct', k: good.d, kid: 'a' }] }, /keys\[0] must be of kty "EC"/],
  ['another algorithm', { keys: [{ ...good, kid: 'a', alg: 'ES384' }] }, /alg "ES256"/],
  ['another use', { keys: [{ ...good, kid: 'a', use: 'enc' }] }, /use "sig"/],
  ['the point of another key', { keys: [{ ...good, kid: 'a', x: other.x, y: other.y }] }, /is not a P-256 key/],
  ['a point off the curve', { keys: [{ ...good, kid: 'a', y: other.y }] }, /is not a P-256 key/],
  ['a cut secret', { keys: [{ ...good, kid: 'a', d: good.d?.slice(0, 20) }] }, /is not a P-256 key/],
  ['zero as the secret', { keys: [{ ...good, kid: 'a', d: 'A'.repeat(43) }] }, /is not a P-256 key/],
  [
    'the same kid twice',
    {
      keys: [
        { ...good, kid: 'a' },
        { ...other, kid: 'a' },
      ],
    },
    /two keys have the kid "a"/,
  ],
  ['a bad second key', { keys: [{ ...good, kid: 'a' }, { kid: 'b' }] }, /keys\[1] must be of kty/],
])(
  '%s is refused with JWT_KEYS_FILE, the path and what is wrong, and nothing of the keys',
  (_kind, content, message) => {
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    const error = errorOf(() => parseKeys(text, '/etc/keys.json'));
    expect(error.message).toMatch(/^JWT_KEYS_FILE: \/etc\/keys\.json: /);
    expect(error.message).toMatch(message);
    expect(error.cause).toBeUndefined();
    for (const secret of [good.d, other.d, 'secret-material'])
      expect(error.message).not.toContain(secret?.slice(0, 15));
  },
);

test('a file that is not there, or is a folder, is an error that names the variable and the path', async () => {
  const missing = join(folder, 'missing.json');
  await expect(readKeyFile(missing)).rejects.toThrow(`JWT_KEYS_FILE: ${missing} cannot be read: ENOENT`);
  await expect(readKeyFile(folder)).rejects.toThrow(`JWT_KEYS_FILE: ${folder} cannot be read: EISDIR`);
});

function jwk(namedCurve = 'P-256'): JsonWebKey {
  return generateKeyPairSync('ec', { namedCurve }).privateKey.export({ format: 'jwk' });
}

function errorOf(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}
