import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { freePort } from './support/free-port.ts';

const run = promisify(execFile);
let blocks: string[];
let env: NodeJS.ProcessEnv;
let ports: readonly [grpc: number, http: number];
let dataDir: string;
let server: ReturnType<typeof spawn>;

beforeAll(async () => {
  blocks = [...(await readFile('README.md', 'utf8')).matchAll(/^```sh\n(.*?)^```/gms)].map(([, code]) => code ?? '');
  ports = [await freePort(), await freePort()];
  dataDir = await mkdtemp(join(tmpdir(), 'amrutam-readme-'));
  env = {
    ...process.env,
    GRPC_PORT: String(ports[0]),
    HTTP_PORT: String(ports[1]),
    METRICS_PORT: '0',
    DATA_DIR: dataDir,
  };
  delete env.DATABASE_URL;
  server = spawn('npm', ['start'], { env, detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((resolve, reject) => {
    let output = '';
    server.stdout?.on('data', (text) => {
      output += text;
      if (output.includes('is serving')) resolve();
    });
    server.once('exit', () => reject(new Error(`npm start ended: ${output}`)));
  });
}, 120_000);

afterAll(async () => {
  process.kill(-(server.pid as number), 'SIGTERM');
  await new Promise((resolve) => server.once('exit', resolve));
  await rm(dataDir, { recursive: true, force: true, maxRetries: 20 }); // npm is gone before the database is
});

test('the two commands are npm ci, which has run, and npm start, which serves', () => {
  expect(blocks[0]).toBe('npm ci\nnpm start\n');
});

test('npm run demo plays the whole story, and exactly one of twenty gets the slot', async () => {
  const output = await shell('npm run demo\n');
  expect(output).toContain('idempotency-replayed: true');
  expect(output.match(/gets the slot/g)).toHaveLength(1);
  expect(output.match(/SLOT_TAKEN/g)).toHaveLength(19);
  expect(output).toContain('is open again');
  expect(output).toMatch(/BookSlot +done/);
});

test('curl logs in', async () => {
  const block = blocks.find((code) => code.startsWith('curl')) ?? '';
  expect(JSON.parse(await shell(block))).toMatchObject({ session: { user: { email: 'patient@demo.test' } } });
});

test('buf curl finds a doctor by reflection', async () => {
  const block = blocks.find((code) => code.startsWith('npx buf curl')) ?? '';
  expect(JSON.parse(await shell(block))).toMatchObject({ doctors: [{ displayName: 'Dr. Ananya Sharma' }] });
});

test('every command of the README is run here', () => {
  expect(blocks.map((code) => code.split(/[ \n]/).slice(0, 3).join(' '))).toEqual([
    'npm ci npm',
    'npm run demo',
    expect.stringMatching(/^curl/),
    'npx buf curl',
  ]);
});

/** Runs a block of the README as it stands, but for the ports. Answers what it prints on standard output. */
async function shell(code: string): Promise<string> {
  expect(blocks).toContain(code);
  const ported = code.replaceAll(':50051', `:${ports[0]}`).replaceAll(':8080', `:${ports[1]}`);
  return (await run('bash', ['-euo', 'pipefail', '-c', ported], { env })).stdout;
}
