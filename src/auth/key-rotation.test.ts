import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type AccessTokens, createAccessTokens } from './access-token.ts';
import { createKeyFile, openSigningKeys, type SigningKeys } from './signing-keys.ts';

const STEP_S = 10;
const LIFE_S = 600;
const CALLER = { userId: randomUUID(), sessionId: randomUUID(), role: 'DOCTOR' as const };

/** An instance with a key file of its own, as if the file reached each machine at its own time. */
interface Instance {
  readonly file: string;
  readonly keys: SigningKeys;
  readonly tokens: AccessTokens;
}

let folder: string;
let clock: number;
let early: Instance;
let late: Instance;
let sets: { old: string; both: string; next: string };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'key-rotation-'));
  const [before, after] = await Promise.all(['a', 'b'].map(newKey));
  const text = (...keys: unknown[]) => JSON.stringify({ keys });
  sets = { old: text(before), both: text(after, before), next: text(after) };
  clock = Date.now() + 3_600_000;
  [early, late] = [await start('early'), await start('late')];
});
afterAll(async () => {
  for (const { keys } of [early, late]) keys.close();
  await rm(folder, { recursive: true });
});

test('while a key comes and the old one goes, at one instance half a minute after the other, both take every token of both', async () => {
  const issued: { token: string; at: number }[] = [];
  const changes: Record<number, readonly [Instance, keyof typeof sets, string]> = {
    100: [early, 'both', 'b'],
    130: [late, 'both', 'b'],
    300: [early, 'next', 'b'],
    330: [late, 'next', 'b'],
  };
  const signers = new Set<string>();
  const began = clock;
  for (let second = 0; second <= 1_200; second += STEP_S) {
    clock = began + second * 1000;
    const change = changes[second];
    if (change) await put(...change);
    for (const { keys, tokens } of [early, late]) {
      const { kid } = keys.signer(new Date(clock));
      signers.add(kid);
      for (const each of [early, late])
        expect([second, each.keys.jwks().keys.map((key) => key.kid)]).toEqual([second, expect.arrayContaining([kid])]);
      issued.push({ token: (await tokens.issue(CALLER)).token, at: second });
    }
    for (const { token, at } of issued.filter(({ at }) => at > second - LIFE_S))
      for (const { tokens } of [early, late])
        expect([at, second, await (async () => tokens.verify(token))().catch(String)]).toEqual([at, second, CALLER]);
  }
  expect(signers).toEqual(new Set(['a', 'b']));
  expect(early.keys.verificationKey('a')).toBeUndefined();
});

async function start(name: string): Promise<Instance> {
  const file = join(folder, `${name}.json`);
  await writeFile(file, sets.old, { mode: 0o600 });
  const now = () => new Date(clock);
  const keys = await openSigningKeys({ file, reloadMs: 10, now, onError: () => {} });
  return { file, keys, tokens: createAccessTokens({ keys, issuer: 'amrutam', audience: 'amrutam', now }) };
}

/** Replaces the file, and waits until it has been read. */
async function put({ file, keys }: Instance, set: keyof typeof sets, first: string): Promise<void> {
  await writeFile(`${file}.new`, sets[set], { mode: 0o600 });
  await rename(`${file}.new`, file);
  const wait = () => new Promise((resolve) => setTimeout(resolve, 10));
  for (let i = 0; i < 1_000 && keys.jwks().keys[0]?.kid !== first; i += 1) await wait();
  for (let i = 0; i < 20; i += 1) await wait();
  expect(keys.jwks().keys[0]?.kid).toBe(first);
}

async function newKey(kid: string): Promise<unknown> {
  const file = join(folder, `${kid}.json`);
  await createKeyFile(file);
  const { keys } = JSON.parse(await readFile(file, 'utf8')) as { keys: [object] };
  return { ...keys[0], kid };
}
