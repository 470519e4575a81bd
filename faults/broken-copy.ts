import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Break } from './drill.ts';

/** What instances are started from, and what sets up and restores the servers before and behind them. */
const SOURCES = ['src', 'gen', 'migrations', 'third_party', 'deploy', 'package.json'];

/** A copy of the sources with one change, in a folder of its own. Throws when the text to change isn't there just once. */
export async function brokenCopy(
  root: string,
  { file, from, to }: Break,
): Promise<{ readonly root: string; remove(): Promise<void> }> {
  const copy = await mkdtemp(join(tmpdir(), 'amrutam-broken-'));
  const remove = () => rm(copy, { recursive: true, force: true });
  try {
    for (const name of SOURCES) await cp(join(root, name), join(copy, name), { recursive: true });
    await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
    const text = await readFile(join(copy, file), 'utf8');
    if (text.split(from).length !== 2) throw new Error(`${file} doesn't hold this text just once: ${from}`);
    await writeFile(
      join(copy, file),
      text.replace(from, () => to),
    );
    return { root: copy, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
