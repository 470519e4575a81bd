import { execFile } from 'node:child_process';
import { chown, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { BARE_ENVIRONMENT } from './embedded-process.ts';

const run = promisify(execFile);

/** Who runs PostgreSQL, which refuses to run as root. */
export interface Account {
  /** For the `spawn` of `[...via, program]`: uid and gid when we are root and they are enough, else nothing. */
  readonly spawnAs: { readonly uid?: number; readonly gid?: number };
  /** Words before a command that make it run as the account; mostly none. */
  readonly via: readonly string[];
  /** Gives it a file or an empty folder of ours. Does nothing when the account is our own. */
  own(path: string): Promise<unknown>;
}

/** Where PostgreSQL is to work: absolute paths of its program, DATA_DIR and the cluster in that. */
interface Place {
  readonly initdb: string;
  readonly folder: string;
  readonly cluster: string;
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The account that can run `initdb` and work in `folder`: our own, or when we are root the owner of `cluster`, else
 * `postgres`, else `nobody`. That user gets the capability to pass closed folders, and only when there is one between:
 * a clone may lie under /root or a `mktemp -d`.
 * Throws an Error that says which folder is closed to which user and what to do, or why `cluster` can't be used.
 */
export async function accountFor(place: Place): Promise<Account> {
  const us = { uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
  const owner = await ownerOf(place.cluster);
  if (owner && (owner.uid === 0 || (us.uid !== 0 && owner.uid !== us.uid))) {
    const right = us.uid === 0 ? 'a user other than root, who runs it: chown -R' : `uid ${us.uid}: chown -R`;
    throw new Error(`${place.cluster} belongs to uid ${owner.uid} and must belong to ${right} it, or set DATA_DIR`);
  }
  const user = us.uid === 0 ? (owner ?? (await systemUser())) : us;
  const ways = us.uid === 0 ? waysTo(user) : [{ spawnAs: {}, via: [] }];
  const failures: string[] = [];
  for (const way of ways) {
    const failure = await failureOf(way, PROBE, place.folder, place.initdb);
    if (failure === undefined) return { ...way, own: async (path) => us.uid === 0 && chown(path, user.uid, user.gid) };
    failures.push(failure);
  }
  throw new Error(await explain(failures, user, ways[0], place));
}

/** initdb --show changes nothing, and looks for its own file, runs `postgres` and finds its data just as initdb does. */
const PROBE = 'cd "$1" && exec "$2" --show --pgdata="$1/postgres"';

type Way = Pick<Account, 'spawnAs' | 'via'>;

/**
 * From the least privilege to the most; containers often grant the third and not the second. Without the secure bit the
 * kernel forgets capabilities in access(2), by which PostgreSQL looks for its own programs.
 */
function waysTo({ uid, gid }: User): [Way, ...Way[]] {
  const withCapability = (name: string): Way => {
    const capability = ['--securebits=+no_setuid_fixup', `--inh-caps=-all,+${name}`, `--ambient-caps=-all,+${name}`];
    return { spawnAs: {}, via: ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...capability, '--'] };
  };
  return [{ spawnAs: { uid, gid }, via: [] }, withCapability('dac_read_search'), withCapability('dac_override')];
}

async function failureOf(way: Way, script: string, ...values: string[]): Promise<string | undefined> {
  const [file, ...rest] = [...way.via, '/bin/sh', '-c', script, 'probe', ...values] as [string, ...string[]];
  try {
    await run(file, rest, { ...way.spawnAs, cwd: '/', env: BARE_ENVIRONMENT });
    return undefined;
  } catch (error) {
    return ((error as { stderr?: string }).stderr || (error as Error).message).split('\n', 1).join();
  }
}

async function explain(failures: string[], user: User, plain: Way, place: Place): Promise<string> {
  const tried = `Tried: ${[...new Set(failures)].join('; ')}`;
  const powerless = await failureOf(plain, ':');
  if (powerless !== undefined)
    return `PostgreSQL refuses to run as root, and this root may not become uid ${user.uid}: run as another user, or set DATABASE_URL. ${tried}`;
  for (const folder of [...ancestors(place.folder), ...ancestors(dirname(place.initdb))]) {
    if ((await failureOf(plain, 'cd "$1"', folder)) === undefined) continue;
    const remedy = 'move the project, set DATA_DIR, open that folder (chmod o+x), or set DATABASE_URL';
    return `uid ${user.uid} (PostgreSQL refuses to run as root) can't enter ${folder}: ${remedy}. ${tried}`;
  }
  return `uid ${user.uid} can't run ${place.initdb}: set DATABASE_URL to do without it. ${tried}`;
}

/** `/a`, `/a/b`, `/a/b/c` for `/a/b/c`. */
function ancestors(path: string): string[] {
  return path === dirname(path) ? [] : [...ancestors(dirname(path)), path];
}

async function ownerOf(cluster: string): Promise<User | undefined> {
  return stat(cluster).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

async function systemUser(): Promise<User> {
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = await Promise.all([id('-u', name), id('-g', name)]);
    if (uid && gid) return { uid, gid };
  }
  throw new Error(
    'PostgreSQL refuses to run as root and there is neither a user postgres nor nobody: set DATABASE_URL',
  );
}

async function id(option: string, name: string): Promise<number | undefined> {
  return run('id', [option, name], { env: BARE_ENVIRONMENT }).then(
    ({ stdout }) => Number(stdout),
    () => undefined,
  );
}
