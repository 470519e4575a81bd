import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSealKeyFile } from '../audit/seal-keys.ts';
import { createKeyFile } from '../auth/signing-keys.ts';
import { command } from './command.ts';

/** Who reads, and as which user: that of the images in docker-compose.yml. */
const READERS = {
  administrator: 1000,
  alertmanager: 65534,
  api: 1000,
  grafana: 472,
  postgres: 999,
  redis: 999,
} as const;

/**
 * npm run create-secrets -- FOLDER: makes every secret that docker-compose.yml reads, in a subfolder for each who reads it. What
 * is there already stays: it may run at each start, and operators may put their own in its place before the first.
 */
await command(async () => {
  const [folder] = process.argv.slice(2);
  if (!folder) throw new Error('Usage: npm run create-secrets -- FOLDER');
  for (const reader of Object.keys(READERS)) await mkdir(join(folder, reader), { recursive: true, mode: 0o700 });
  const before = await filesIn(folder);
  await makeMissing((name, text) => keep(join(folder, name), text));
  await createKeyFile(join(folder, 'api', 'jwt-keys.json'));
  await createSealKeyFile(join(folder, 'api', 'audit-keys.json'));
  for (const [reader, user] of Object.entries(READERS)) await handOver(join(folder, reader), user);
  const made = (await filesIn(folder)).filter((name) => !before.includes(name));
  return made.length
    ? `Made in ${folder}: ${made.sort().join(', ')}.`
    : `Nothing to make: all secrets are in ${folder}.`;
});

/** `file` keeps a text that isn't there yet, and answers what is there. */
async function makeMissing(file: (name: string, text: string) => Promise<string>): Promise<void> {
  const database = await file('postgres/amrutam-password', secret());
  await file('api/database-url', `postgres://amrutam:${encodeURIComponent(database)}@postgres:5432/amrutam`);
  await file('postgres/superuser-password', secret());
  await file('postgres/cipher.conf', `[global]\nrepo1-cipher-pass=${secret()}`);
  const redis = await file('redis/password', secret());
  await file('redis/password.conf', `requirepass ${JSON.stringify(redis)}`);
  await file('api/redis-url', `redis://:${encodeURIComponent(redis)}@redis:6379`);
  await file('administrator/password', secret());
  await file('alertmanager/token', secret());
  await file('grafana/password', secret());
}

/** 192 bits, in 32 characters that need no quoting anywhere. */
function secret(): string {
  return randomBytes(24).toString('base64url');
}

async function keep(file: string, text: string): Promise<string> {
  await writeFile(file, `${text}\n`, { mode: 0o600, flag: 'wx', flush: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  return (await readFile(file, 'utf8')).trim();
}

/**
 * Only root can give files away; for anybody else they stay their own. What is right already is not touched: a key file counts
 * as changed with every chmod, and its newest key then as too new to sign.
 */
async function handOver(folder: string, user: number): Promise<void> {
  const paths = [folder, ...(await readdir(folder)).map((name) => join(folder, name))];
  for (const path of paths) {
    const right = path === folder ? 0o500 : 0o400;
    const { mode, uid, gid } = await stat(path);
    if ((mode & 0o7777) !== right) await chmod(path, right);
    if (process.getuid?.() === 0 && (uid !== user || gid !== user)) await chown(path, user, user);
  }
}

async function filesIn(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name, parentPath }) => join(parentPath, name).slice(folder.length + 1));
}
