import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Account } from './embedded-account.ts';

/** What `<DATA_DIR>/postgres.json` holds, for its owner's eyes only (mode 0600). */
export interface Secret {
  readonly password: string;
  /** TCP port of the server now running, or of the last one. */
  readonly port?: number;
  /** The process of ours that started it. */
  readonly owner?: number;
}

/** The secret kept in `folder`, undefined when there is none. Throws an Error naming the file when it can't be read. */
export async function readSecret(folder: string): Promise<Secret | undefined> {
  const file = fileIn(folder);
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Secret;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** The secret kept in `folder`, a new one when there is none; two processes that ask at once get the same. */
export async function secretIn(folder: string): Promise<Secret> {
  const existing = await readSecret(folder);
  if (existing) return existing;
  const draft = await draftOf({ password: randomBytes(24).toString('hex') }, folder);
  await link(draft, fileIn(folder)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  await rm(draft);
  return (await readSecret(folder)) as Secret;
}

/** Replaces the secret in one step and gives it to the cluster's owner, who may be the next to start it. */
export async function keepSecret(secret: Secret, folder: string, account: Account): Promise<void> {
  const draft = await draftOf(secret, folder);
  await account.own(draft);
  await rename(draft, fileIn(folder));
}

function fileIn(folder: string): string {
  return join(folder, 'postgres.json');
}

async function draftOf(secret: Secret, folder: string): Promise<string> {
  const draft = `${fileIn(folder)}.${process.pid}`;
  try {
    await writeFile(draft, `${JSON.stringify(secret)}\n`, { mode: 0o600, flush: true });
    return draft;
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
