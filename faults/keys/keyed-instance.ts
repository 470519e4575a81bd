import { copyFile, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createKeyFile } from '../../src/auth/signing-keys.ts';
import type { Service } from '../../test/support/process-service.ts';
import type { Clinic } from '../clinic.ts';

/** Contents of key files, before, during and after a rotation. */
export interface KeySets {
  readonly old: string;
  readonly both: string;
  readonly next: string;
  readonly oldKid: string;
  readonly newKid: string;
}

/** An instance with a key file of its own, as if the file reached each machine at its own time. */
export interface KeyedInstance {
  readonly service: Service;
  readonly file: string;
  /** Replaces the file in one piece, as it should be done. */
  put(text: string): Promise<void>;
  /** The names in the published key set. */
  kids(): Promise<string[]>;
  /** Whether one of them is `kid`. */
  publishes(kid: string): Promise<boolean>;
}

interface KeySet {
  readonly keys: readonly { readonly kid: string }[];
}

/** The sets around a new key, from the file that is used now. */
export async function makeKeySets(file: string, folder: string): Promise<KeySets> {
  const other = join(folder, 'next.json');
  await createKeyFile(other);
  const [before, after] = await Promise.all([file, other].map(read));
  const [oldKey, newKey] = [before?.keys[0], after?.keys[0]];
  if (!oldKey || !newKey) throw new Error('a key file has no key');
  const text = (...keys: readonly object[]) => JSON.stringify({ keys });
  return {
    old: text(oldKey),
    both: text(newKey, oldKey),
    next: text(newKey),
    oldKid: oldKey.kid,
    newKid: newKey.kid,
  };
}

/** Starts an instance with a copy of the clinic's key file. */
export async function keyedInstance(clinic: Clinic, folder: string, name: string): Promise<KeyedInstance> {
  const file = join(folder, `${name}.json`);
  await copyFile(clinic.keysFile, file);
  const service = await clinic.start({ JWT_KEYS_FILE: file });
  const kids = async () => {
    const response = await fetch(`http://127.0.0.1:${service.httpPort}/.well-known/jwks.json`);
    return ((await response.json()) as KeySet).keys.map(({ kid }) => kid);
  };
  return {
    service,
    file,
    async put(text) {
      await writeFile(`${file}.new`, text, { mode: 0o600 });
      await rename(`${file}.new`, file);
    },
    kids,
    publishes: async (kid) => (await kids()).includes(kid),
  };
}

async function read(file: string): Promise<KeySet> {
  return JSON.parse(await readFile(file, 'utf8')) as KeySet;
}
