import { randomUUID } from 'node:crypto';
import { chmod, chown, link, rename, rm, stat, writeFile } from 'node:fs/promises';

/**
 * Makes a file, readable by its owner only. An existing one stays as it is, and of two who make it at once one wins: when this
 * resolves, the file is there and whole. Its folder must exist.
 */
export async function makeWhole(path: string, text: string): Promise<void> {
  await drafted(path, text, (draft) =>
    link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    }),
  );
}

/** Replaces a file in one piece, so that who reads it meanwhile gets the old one or the new; owner and mode stay. */
export async function replaceWhole(path: string, text: string): Promise<void> {
  const { mode, uid, gid } = await stat(path);
  await drafted(path, text, async (draft) => {
    await chown(draft, uid, gid);
    await chmod(draft, mode & 0o777);
    await rename(draft, path);
  });
}

async function drafted(path: string, text: string, use: (draft: string) => Promise<void>): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, text, { mode: 0o600, flag: 'wx', flush: true });
    await use(draft);
  } finally {
    await rm(draft, { force: true });
  }
}
