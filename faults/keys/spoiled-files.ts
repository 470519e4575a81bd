import { generateKeyPairSync } from 'node:crypto';
import { chmod, mkdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stage } from '../drill.ts';
import type { KeyedInstance, KeySets } from './keyed-instance.ts';

/** One way in which a key file can be wrong while an instance runs, and what the log must say of it. */
interface Spoiling {
  readonly what: string;
  spoil(instance: KeyedInstance, sets: KeySets): Promise<unknown>;
  readonly says: string;
}

const P384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ format: 'jwk' });

/** Two for each of four instances, one after the other. */
const SPOILINGS: readonly (readonly [Spoiling, Spoiling])[] = [
  [
    {
      what: 'half written, in place',
      spoil: ({ file }, { both }) => writeFile(file, both.slice(0, both.length / 2)),
      says: 'expected a JWK Set',
    },
    { what: 'gone', spoil: ({ file }) => rm(file), says: 'ENOENT' },
  ],
  [
    { what: 'empty', spoil: ({ file }) => writeFile(file, ''), says: 'expected a JWK Set' },
    {
      what: 'a folder, so unreadable for whoever',
      spoil: ({ file }) => rm(file).then(() => mkdir(file)),
      says: 'EISDIR',
    },
  ],
  [
    {
      what: 'with one name for two keys',
      spoil: (instance, { both, newKid, oldKid }) => instance.put(both.replaceAll(newKid, oldKid)),
      says: 'two keys have the kid',
    },
    {
      what: 'with another key under the known name',
      spoil: (instance, { next, newKid, oldKid }) => instance.put(next.replaceAll(newKid, oldKid)),
      says: 'was the name of another key',
    },
  ],
  [
    {
      what: 'with a key of another curve',
      spoil: (instance, { old }) =>
        instance.put(old.replace('{"keys":[', `{"keys":[${JSON.stringify({ ...P384, kid: 'p' })},`)),
      says: 'must be of kty',
    },
    {
      what: 'open to everybody',
      spoil: async (instance, { old }) => {
        await instance.put(old);
        await chmod(instance.file, 0o644);
      },
      says: 'has mode 0644',
    },
  ],
];

/** What it takes to see that an instance goes on. */
export interface Watched {
  readonly sets: KeySets;
  readonly stage: Stage;
  /** Whether the instance takes a token of the old key. */
  takesOld(instance: KeyedInstance): Promise<boolean>;
}

/** Spoils the file of the instance in the ways of its number: it says so, keeps its keys, and reads the file again when it is good. */
export async function spoil(
  instance: KeyedInstance,
  number: number,
  { sets, stage, takesOld }: Watched,
): Promise<void> {
  for (const { what, spoil: spoilFile, says } of SPOILINGS[number] ?? []) {
    await spoilFile(instance, sets);
    await instance.service.wrote(says);
    if (!(await takesOld(instance))) throw new Error(`a file ${what}: the old key was lost`);
    if (!(await instance.publishes(sets.oldKid))) throw new Error(`a file ${what}: the old key is no longer published`);
    if (await instance.publishes(sets.newKid)) throw new Error(`a file ${what}: it was taken all the same`);
    stage.say(`a key file ${what}: said in the log, the keys stay`);
  }
  await rmdir(instance.file).catch(() => {});
  await instance.put(sets.both);
  for (const deadline = Date.now() + 35_000; !(await instance.publishes(sets.newKid)); await sleep(500))
    if (Date.now() > deadline) throw new Error('a file that is good again was not read');
}
