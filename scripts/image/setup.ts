import assert from 'node:assert/strict';
import { join } from 'node:path';
import { start } from './container.ts';
import { printed, type Scene } from './scene.ts';
import { say } from './tell.ts';

/** Without a database, and with one that is not migrated, it ends and says what to do. */
export async function refusesToStart({ image, given }: Scene): Promise<void> {
  const alone = await start(image, []).ended;
  assert.equal(alone.code, 1);
  assert.match(alone.output, /set DATABASE_URL to a PostgreSQL server/);
  const early = await start(image, [], given).ended;
  assert.equal(early.code, 1);
  assert.match(early.output, /schema is older than this build.*Run: npm run migrate/);
  const told = await start(image, [], { ...given, env: { ...given.env, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' } }).ended;
  const read = told.output.split('\n').filter((line) => line.includes('reading cache from'));
  assert.ok(
    read.length > 500 && read.every((line) => /\.\.\. success, size=/.test(line)),
    read.join('\n').slice(0, 2_000),
  );
  say('without a database, or with one that is not migrated, it does not start and says what to do');
  say('all the code that it loads was compiled before');
}

/** What `npm run` does in a clone, a container does by the same names, and as docker-compose.yml has it done. */
export async function commandsWork({ image, composed, given, own }: Scene): Promise<void> {
  const { migrate, administrator } = composed.services;
  assert.match(await printed(image, migrate?.command ?? [], given), /^Migrated: /);
  assert.match(await printed(image, ['seed'], given), /The demonstration clinic is there/);
  assert.match(
    await printed(image, ['create-keys', '/own/keys.json'], { ...given, folders: own }),
    /A new signing key/,
  );
  const folders = {
    ...given.folders,
    '/run/secrets/administrator': join(given.folders?.['/run/secrets/api'] ?? '', '../administrator'),
  };
  const boss = { ...given, folders, env: { ...given.env, ...administrator?.environment } };
  const asked = administrator?.entrypoint ?? [];
  assert.match(await printed(image, asked, boss), /admin@example\.com is an administrator now/);
  assert.match(await printed(image, asked, boss), /nothing was changed/);
  say(
    'create-secrets, migrate, seed, create-keys and create-admin do their work, as docker-compose.yml has them do it',
  );
}
