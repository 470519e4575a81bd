import assert from 'node:assert/strict';
import { start } from './container.ts';
import { printed, type Scene } from './scene.ts';
import { say } from './tell.ts';

/** Without a database, and with one that is not migrated, it ends and says what to do. */
export async function refusesToStart({ image, given }: Scene): Promise<void> {
  const alone = await start(image, []).ended;
  assert.equal(alone.code, 1);
  assert.match(alone.output, /set DATABASE_URL to a PostgreSQL server/);
  await printed(image, ['create-keys', '/keys/keys.json'], given);
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

/** What `npm run` does in a clone, a container does by the same names. */
export async function commandsWork({ image, given }: Scene): Promise<void> {
  assert.match(await printed(image, ['migrate'], given), /^Migrated: /);
  assert.match(await printed(image, ['seed'], given), /The demonstration clinic is there/);
  const asked = ['create-admin', '--email', 'boss@example.test', '--if-missing'];
  const administrator = { ...given, input: 'seven violet tractors' };
  assert.match(await printed(image, asked, administrator), /is an administrator now/);
  assert.match(await printed(image, asked, administrator), /nothing was changed/);
  say('create-keys, migrate, seed and create-admin do their work');
}
