import { execFileSync } from 'node:child_process';
import { chown } from 'node:fs/promises';

/** PostgreSQL doesn't run as root: then its own user, or nobody, gets `folder`. Answers whom to start programs as. */
export async function accountIn(folder: string): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = [idOf('-u', name), idOf('-g', name)];
    if (!uid || !gid) continue;
    await chown(folder, uid, gid);
    return { uid, gid };
  }
  throw new Error('there is no user whom PostgreSQL could run as');
}

function idOf(option: string, name: string): number {
  try {
    return Number(execFileSync('id', [option, name], { stdio: ['ignore', 'pipe', 'ignore'] }));
  } catch {
    return 0;
  }
}
