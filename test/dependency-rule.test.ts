import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

/** What is tried, where it would stand, and what it imports. */
type Try = readonly [what: string, file: string, source: string];

const FORBIDDEN: readonly Try[] = [
  ['a transport that knows a feature', 'src/rpc/a.ts', '../booking/booking.entity.ts'],
  ['a transport that knows the wiring', 'src/rpc/b.ts', '../server.ts'],
  ['a transport that knows that there are several processes', 'src/rpc/d.ts', '../processes.ts'],
  ['a database that knows a feature', 'src/db/a.ts', '../auth/user.entity.ts'],
  ['a database that knows the contract', 'src/db/b.ts', '../../gen/amrutam/auth/v1/auth_pb.ts'],
  ['a database that reads the configuration', 'src/db/c.ts', '../config.ts'],
  ['a job that knows a feature', 'src/jobs/a.ts', '../auth/session.entity.ts'],
  ['a job that reads the configuration', 'src/jobs/b.ts', '../config.ts'],
  ['a job that knows mails', 'src/jobs/c.ts', '../mail/mail.entity.ts'],
  ['a mail that knows a feature', 'src/mail/a.ts', '../auth/user.entity.ts'],
  ['a mail that knows the contract', 'src/mail/b.ts', '../../gen/amrutam/auth/v1/auth_pb.ts'],
  ['a database that knows mails', 'src/db/f.ts', '../mail/mail.entity.ts'],
  ['a database that knows jobs', 'src/db/d.ts', '../jobs/jobs.ts'],
  ['a feature that knows jobs', 'src/booking/f.ts', '../jobs/jobs.ts'],
  ['a database that knows metrics', 'src/db/e.ts', '../metrics/metrics.ts'],
  ['a feature that knows metrics', 'src/booking/g.ts', '../metrics/metrics.ts'],
  ['a feature that knows one above it', 'src/auth/a.ts', '../availability/slot.entity.ts'],
  ['a feature that calls another one’s service', 'src/booking/a.ts', '../auth/service.ts'],
  ['a verb that knows the contract', 'src/booking/b.ts', '../../gen/amrutam/booking/v1/booking_pb.ts'],
  ['a verb that knows a transport', 'src/booking/c.ts', '@connectrpc/connect'],
  ['a verb that logs', 'src/booking/d.ts', '../log.ts'],
  ['an entity that knows a verb', 'src/booking/a.entity.ts', './book-slot.ts'],
  ['an entity that knows SQL', 'src/booking/b.entity.ts', '../db/statement.ts'],
  ['a fault that knows a feature', 'src/fault.ts', './booking/booking.entity.ts'],
  ['a migration that knows the code of today', 'migrations/9999-a.ts', '../src/booking/booking.entity.ts'],
  ['a client that knows the server', 'client/a.ts', '../src/fault.ts'],
];

const ALLOWED: readonly Try[] = [
  ['a verb that has a mail sent', 'src/auth/b.ts', '../mail/queue-mail.ts'],
  ['a service that knows the contract', 'src/booking/service.ts', '../../gen/amrutam/booking/v1/booking_pb.ts'],
  ['a verb that knows an entity below it', 'src/booking/e.ts', '../availability/slot.entity.ts'],
  ['a list of jobs that knows a verb', 'src/jobs/jobs.ts', '../availability/fill-agendas.ts'],
  ['an entity that knows another', 'src/booking/c.entity.ts', '../availability/slot.entity.ts'],
  ['a transport that knows published protos', 'src/rpc/c.ts', '../../gen/google/rpc/status_pb.ts'],
];

let folder: string;
let said: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'amrutam-lint-'));
  await cp('biome.json', join(folder, 'biome.json'));
  await symlink(resolve('node_modules'), join(folder, 'node_modules'));
  for (const [, file, source] of [...FORBIDDEN, ...ALLOWED]) await write(file, `export { thing } from '${source}';\n`);
  for (const file of ['src/booking/env.ts', 'src/config.ts'])
    await write(file, 'export const port = process.env.PORT;\n');
  const args = ['lint', '--vcs-enabled=false', '--max-diagnostics=none', '--reporter=github', '.'];
  said = spawnSync(resolve('node_modules/.bin/biome'), args, { cwd: folder, encoding: 'utf8' }).stdout;
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function write(file: string, code: string): Promise<void> {
  await mkdir(join(folder, dirname(file)), { recursive: true });
  await writeFile(join(folder, file), code);
}

/** Names of the rules that `file` breaks. */
function broken(file: string): string[] {
  const lines = said.split('\n').filter((line) => line.includes(`${file},`));
  return lines.map((line) => /title=lint\/\w+\/(\w+)/.exec(line)?.[1] ?? line);
}

test.each(FORBIDDEN)('dependencies point one way, and the linter refuses %s', (_, file) => {
  expect(broken(file)).toEqual(['noRestrictedImports']);
});

test.each(ALLOWED)('it takes %s', (_, file) => {
  expect(broken(file)).toEqual([]);
});

test('nobody but the configuration reads the environment', () => {
  expect(broken('src/booking/env.ts')).toEqual(['noProcessEnv']);
  expect(broken('src/config.ts')).toEqual([]);
});
