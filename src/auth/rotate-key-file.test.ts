import { chmod, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { runCommand } from '../../test/support/process-service.ts';
import { createKeyFile, parseKeys } from './key-file.ts';
import { addKey, retireKeys, SETTLED_MS } from './rotate-key-file.ts';
import { openSigningKeys } from './signing-keys.ts';

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rotate-'));
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  file = join(await mkdtemp(join(folder, 'own-')), 'keys.json');
  await createKeyFile(file);
});

const kids = async () => parseKeys(await readFile(file, 'utf8'), file).map(({ kid }) => kid);
const later = () => new Date(Date.now() + SETTLED_MS + 1_000);

test('a new key comes in front, and the others go when their tokens have expired', async () => {
  const [old] = await kids();
  const added = await addKey(file);
  expect(added).toEqual([expect.any(String), old]);
  expect(await kids()).toEqual(added);
  await expect(retireKeys(file, new Date())).rejects.toThrow(/less than 15 minutes ago.* in 15 minutes/);
  expect(await kids()).toEqual(added);
  expect(await retireKeys(file, later())).toEqual([added[0]]);
  expect(await kids()).toEqual([added[0]]);
  expect(await readdir(join(file, '..'))).toEqual(['keys.json']);
});

test('a service reads what was made: the old key signs on, both are published', async () => {
  const [old] = await kids();
  await addKey(file);
  const keys = await openSigningKeys({ file, onError: () => {} });
  expect(keys.signer(new Date()).kid).toBe(old);
  expect(keys.jwks().keys).toHaveLength(2);
  expect(keys.signer(new Date(Date.now() + 120_000)).kid).toBe((await kids())[0]);
  keys.close();
});

test('the mode stays, and what else is in the file', async () => {
  const set = JSON.parse(await readFile(file, 'utf8'));
  set.keys[0].note = 'kept';
  await writeFile(file, JSON.stringify({ ...set, owner: 'us' }));
  await chmod(file, 0o640);
  await addKey(file);
  expect((await stat(file)).mode & 0o777).toBe(0o640);
  const next = JSON.parse(await readFile(file, 'utf8'));
  expect([next.owner, next.keys[1].note]).toEqual(['us', 'kept']);
});

test('when the file was touched counts, not what its clock was set to', async () => {
  await addKey(file);
  await utimes(file, 0, 0);
  await expect(retireKeys(file, new Date())).rejects.toThrow('less than 15 minutes');
});

test('what is no file of keys stays as it is', async () => {
  await writeFile(file, '{"keys": []}');
  await expect(addKey(file)).rejects.toThrow(/JWT_KEYS_FILE.*no key/);
  await expect(retireKeys(file, later())).rejects.toThrow(/JWT_KEYS_FILE.*no key/);
  expect(await readFile(file, 'utf8')).toBe('{"keys": []}');
});

test('as a command', async () => {
  const added = await runCommand('rotate-keys', { args: [file] });
  expect(added).toMatchObject({ code: 0, output: expect.stringMatching(/has a new key in front.*1 older/) });
  expect(await kids()).toHaveLength(2);
  const early = await runCommand('rotate-keys', { args: [file, '--finish'] });
  expect(early).toMatchObject({ code: 1, output: expect.stringMatching(/nothing was changed/) });
  for (const args of [[], ['--finish'], [file, '--again'], [file, '--finish', 'x']])
    expect(await runCommand('rotate-keys', { args })).toMatchObject({
      code: 1,
      output: expect.stringMatching(/^Usage/),
    });
});
