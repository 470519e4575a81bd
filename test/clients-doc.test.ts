import { spawnSync } from 'node:child_process';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPasswordHasher } from '../src/auth/password.ts';
import { publishComingWeek, seedDemoClinic } from '../src/demo-clinic.ts';
import { type ClientProject, clientProject } from './support/client-project.ts';
import { startServer, type TestServer } from './support/server.ts';

/** A fenced block of docs/clients.md. `name`: of the file that it is, or of the tool that it needs. */
interface Block {
  readonly language: string;
  readonly name: string;
  readonly text: string;
}

const LINKS = ['@bufbuild/protobuf', '@grpc/grpc-js', '@types/node', '@connectrpc'];

/** Ten minutes less a little later, for the client only: its access token is about to expire. */
const LATER = `data:text/javascript,
  const Now = Date;
  globalThis.Date = class extends Now {
    constructor(...given) { super(...(given.length ? given : [Now.now() + 570_000])); }
    static now() { return Now.now() + 570_000; }
  };`;

let project: ClientProject;
let server: TestServer;
let blocks: readonly Block[];

beforeAll(async () => {
  [project, server] = await Promise.all([clientProject(LINKS), startServer()]);
  await seedDemoClinic(server.units, createPasswordHasher(), 'correct-horse-battery');
  await publishComingWeek(server.units);
  blocks = blocksOf(await readFile('docs/clients.md', 'utf8'));
  for (const file of files('ts', 'yaml')) await project.write(file, textOf(file));
});

afterAll(async () => {
  await server?.stop();
  await project?.remove();
});

test('every block says what it is', () => {
  expect(blocks.length).toBeGreaterThan(10);
  expect(blocks.filter(({ language }) => !['ts', 'sh', 'yaml'].includes(language))).toEqual([]);
  expect(blocks.filter(({ language, name }) => language !== 'sh' && name === '')).toEqual([]);
});

describe('TypeScript', () => {
  test('has the right types', async () => {
    const compilerOptions = { module: 'nodenext', target: 'es2024', strict: true, types: ['node'], noEmit: true };
    await project.write('tsconfig.json', JSON.stringify({ compilerOptions, files: files('ts') }));
    expect(await project.run('node_modules/.bin/tsc', [])).toBe('');
  });

  test('grpc-js: a slot is booked, the request repeated, the slot taken, the booking cancelled', async () => {
    const lines = (await project.run(process.execPath, ['grpc.ts'])).trim().split('\n');
    expect(lines).toEqual([
      expect.stringMatching(/^Dr. Ananya Sharma [4-6]\d$/),
      'true true false',
      '1',
      'it is CANCELLED',
    ]);
    expect(server.logged.filter((line) => line.includes('RefreshSession'))).toEqual([]);
  });

  test('grpc-js: with a token that is about to expire it does the same', async () => {
    const printed = await project.run(process.execPath, ['--import', LATER, 'grpc.ts']);
    expect(printed).toContain('it is CANCELLED');
    expect(server.logged.some((line) => line.includes('RefreshSession'))).toBe(true);
  });

  test('Connect-Node', async () => {
    expect(await project.run(process.execPath, ['connect-node.ts'])).toBe('BOOKING_NOT_FOUND\n');
  });

  test('Connect-Web', async () => {
    expect(await project.run(process.execPath, ['connect-web.ts'])).toBe("[ 'Dr. Ananya Sharma' ]\n");
    expect(server.logged.some((line) => line.includes('SearchDoctors'))).toBe(true);
  });
});

test('commands: curl lists bookings, buf curl books, buf exports the contract', async () => {
  const script = blocks.filter(({ language, name }) => language === 'sh' && name === '').map(({ text }) => text);
  const printed = await project.run('bash', ['-euo', 'pipefail', '-c', script.join('\n')]);
  expect(printed).toContain('"BOOKING_STATE_CONFIRMED"');
  expect(server.logged.some((line) => line.includes('ListBookings'))).toBe(true);
  await access(join(project.folder, 'contract/buf/validate/validate.proto'));
});

// Tools that npm doesn't bring and CI needn't have: their blocks run where they are installed.
describe.each([
  ['grpcurl', 'amrutam.booking.v1.BookingService'],
  ['grpc_python_plugin', ''],
  ['protoc-gen-go-grpc', ''],
])('%s', (tool, expected) => {
  const runs = spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0 ? test : test.skip;
  runs(`what docs/clients.md says about ${tool} works`, async () => {
    expect(await project.run('bash', ['-euo', 'pipefail', '-c', textOf(tool)])).toContain(expected);
  });
});

test('no block is left out', () => {
  const tools = blocks.filter(({ language }) => language === 'sh').map(({ name }) => name);
  expect(new Set(tools)).toEqual(new Set(['', 'grpcurl', 'grpc_python_plugin', 'protoc-gen-go-grpc']));
  expect(files('ts')).toEqual(['grpc.ts', 'connect-node.ts', 'connect-web.ts']);
});

/** The blocks, with the addresses of the server that runs here. */
function blocksOf(markdown: string): Block[] {
  const here = markdown
    .replaceAll('localhost:50051', `127.0.0.1:${server.grpcPort}`)
    .replaceAll('localhost:8080', `127.0.0.1:${server.httpPort}`);
  return [...here.matchAll(/^```(\w+)(?: (\S+))?\n(.*?)^```$/gms)].map(([, language = '', name = '', text = '']) => ({
    language,
    name,
    text,
  }));
}

function files(...languages: string[]): string[] {
  return [...new Set(blocks.filter(({ language }) => languages.includes(language)).map(({ name }) => name))];
}

/** The blocks of one name are one text, in their order. */
function textOf(name: string): string {
  return blocks
    .filter((block) => block.name === name)
    .map(({ text }) => text)
    .join('\n');
}
