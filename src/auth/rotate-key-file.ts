import { replaceWhole } from '../whole-file.ts';
import { newKey, parseKeys, readKeyFile } from './key-file.ts';

/** How long the new key must have been in the file before an old one may go: until every token signed by that has expired. Milliseconds. */
export const SETTLED_MS = 15 * 60_000;

/** The keys of a file by name, the one that signs, or soon will, first. */
type Kids = readonly string[];

/** Puts a new key in front of the others. Throws an Error naming JWT_KEYS_FILE when the file isn't one of keys. */
export async function addKey(file: string): Promise<Kids> {
  return change(file, async (entries) => [await newKey(), ...entries]);
}

/**
 * Takes all keys but the first out. Throws an Error when the file was changed less than SETTLED_MS before `now`: the first key may
 * be too new to sign everywhere, and tokens of the others may still be in use.
 */
export async function retireKeys(file: string, now: Date): Promise<Kids> {
  const { changedAt } = await readKeyFile(file);
  const waitMs = changedAt + SETTLED_MS - now.getTime();
  if (waitMs > 0)
    throw new Error(
      `${file} was changed less than 15 minutes ago, and tokens signed by its older keys are in use: nothing was changed. Ask again in ${Math.ceil(waitMs / 60_000)} minutes.`,
    );
  return change(file, async (entries) => entries.slice(0, 1));
}

/** Replaces the file in one piece, so that who reads it meanwhile gets the old one or the new; owner and mode stay. */
async function change(file: string, edit: (entries: readonly object[]) => Promise<readonly object[]>): Promise<Kids> {
  const { text } = await readKeyFile(file);
  parseKeys(text, file);
  const set = JSON.parse(text) as { readonly keys: readonly object[] };
  const next = `${JSON.stringify({ ...set, keys: await edit(set.keys) }, null, 2)}\n`;
  const kids = parseKeys(next, file).map(({ kid }) => kid);
  await replaceWhole(file, next);
  return kids;
}
