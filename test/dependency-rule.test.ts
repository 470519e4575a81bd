import { spawnSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';

/** What biome says of `code` as if it stood in `file`. */
function lint(file: string, code: string): string {
  const { stdout, stderr } = spawnSync('npx', ['--no-install', 'biome', 'lint', `--stdin-file-path=${file}`], {
    input: code,
    encoding: 'utf8',
  });
  return stdout + stderr;
}

describe('dependencies point one way, and the linter refuses', () => {
  test.each([
    ['a transport that knows a feature', 'src/rpc/new.ts', '../booking/booking.entity.ts'],
    ['a transport that knows the wiring', 'src/rpc/new.ts', '../server.ts'],
    ['a database that knows a feature', 'src/db/new.ts', '../auth/user.entity.ts'],
    ['a database that knows the contract', 'src/db/new.ts', '../../gen/amrutam/auth/v1/auth_pb.ts'],
    ['a database that reads the configuration', 'src/db/new.ts', '../config.ts'],
    ['a feature that knows one above it', 'src/auth/new.ts', '../availability/slot.entity.ts'],
    ['a feature that calls another one’s service', 'src/booking/new.ts', '../auth/service.ts'],
    ['a verb that knows the contract', 'src/booking/new.ts', '../../gen/amrutam/booking/v1/booking_pb.ts'],
    ['a verb that knows a transport', 'src/booking/new.ts', '@connectrpc/connect'],
    ['a verb that logs', 'src/booking/new.ts', '../log.ts'],
    ['an entity that knows a verb', 'src/booking/new.entity.ts', './book-slot.ts'],
    ['an entity that knows SQL', 'src/booking/new.entity.ts', '../db/statement.ts'],
    ['a fault that knows a feature', 'src/fault.ts', './booking/booking.entity.ts'],
    ['a migration that knows the code of today', 'migrations/9999-new.ts', '../src/booking/booking.entity.ts'],
    ['a client that knows the server', 'client/new.ts', '../src/fault.ts'],
  ])('%s', (_, file, source) => {
    expect(lint(file, `export { thing } from '${source}';\n`)).toContain('noRestrictedImports');
  });

  test('nobody but the configuration reads the environment', () => {
    expect(lint('src/booking/new.ts', 'export const port = process.env.PORT;\n')).toContain('noProcessEnv');
  });
});

test.each([
  ['src/booking/service.ts', '../../gen/amrutam/booking/v1/booking_pb.ts'],
  ['src/booking/new.ts', '../availability/slot.entity.ts'],
  ['src/booking/new.entity.ts', '../availability/slot.entity.ts'],
  ['src/rpc/new.ts', '../../gen/google/rpc/status_pb.ts'],
])('what may be imported is left alone: %s imports %s', (file, source) => {
  expect(lint(file, `export { thing } from '${source}';\n`)).not.toContain('noRestrictedImports');
});
