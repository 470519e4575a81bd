import { cp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Archived } from './archived.ts';

/** A way for a repository to be bad. */
export interface Damage {
  readonly means: string;
  /** Does it, and answers how to undo it. Of the last WAL, and of the newest backup. */
  do(archived: Pick<Archived, 'backups' | 'wal'>): Promise<() => Promise<void>>;
  /** What the restore that must fail says. */
  readonly told: RegExp;
}

/** The newest backup can't be read. */
export const flipped: Damage = {
  means: 'a byte of the newest backup is another',
  do: async ({ backups }) => flip(await largestIn(await newestBackup(backups))),
  told: /NOT RESTORED: the backup can't be brought back/,
};
const flippedWal: Damage = {
  means: 'a byte of archived WAL is another',
  do: async ({ wal }) => flip((await lastSegments(wal)).lost),
  told: /NOT RESTORED: (PostgreSQL gave up|WAL is missing or damaged)/,
};
const lostWal: Damage = {
  means: 'archived WAL is lost',
  async do({ wal }) {
    const { lost } = await lastSegments(wal);
    const away = join(wal, 'lost');
    await rename(lost, away);
    return () => rename(away, lost);
  },
  told: /NOT RESTORED: WAL is missing or damaged at .*everything after .* is lost/,
};
const exchangedWal: Damage = {
  means: 'archived WAL is whole, but another segment',
  async do({ wal }) {
    const { lost, next } = await lastSegments(wal);
    return replace(lost, await readFile(next));
  },
  told: /NOT RESTORED/,
};

export const damages: readonly Damage[] = [flippedWal, lostWal, exchangedWal, flipped];

async function flip(file: string): Promise<() => Promise<void>> {
  const bytes = await readFile(file);
  const middle = bytes.length >> 1;
  bytes.writeUInt8(bytes.readUInt8(middle) ^ 0xff, middle);
  return replace(file, bytes);
}

async function replace(file: string, bytes: Buffer): Promise<() => Promise<void>> {
  const kept = `${file}.kept`;
  await cp(file, kept);
  await writeFile(file, bytes);
  return async () => {
    await writeFile(file, await readFile(kept));
    await rm(kept);
  };
}

async function newestBackup(backups: string): Promise<string> {
  const labels = (await readdir(backups)).filter((name) => /F$/.test(name)).sort();
  return join(backups, labels.at(-1) ?? '');
}

async function largestIn(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const sizes = await Promise.all(files.map(async (file) => ({ file, size: (await stat(file)).size })));
  return sizes.sort((a, b) => b.size - a.size)[0]?.file ?? '';
}

/** The last segment but one, and the last, of the newest timeline. */
async function lastSegments(wal: string): Promise<{ readonly lost: string; readonly next: string }> {
  const names = (await readdir(wal, { recursive: true })).filter((name) => /\/[0-9A-F]{24}-[0-9a-f]+\.zst$/.test(name));
  const [lost, next] = names.sort().slice(-2);
  if (!lost || !next) throw new Error('there is too little WAL to damage');
  return { lost: join(wal, lost), next: join(wal, next) };
}
