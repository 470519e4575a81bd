import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Listeners, listeners } from './listeners.fixture.ts';

const ID = '0192f0c4-7e5a-7b3c-8d2e-1f2a3b4c5d6e';
const BUF = join(import.meta.dirname, '../../node_modules/.bin/buf');

let served: Listeners;
let cache: string;

beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), 'buf-'));
  served = await listeners({ availability: { getSlot: () => ({ slot: { id: ID } }) } });
});

afterAll(async () => {
  await served.close();
  await rm(cache, { recursive: true });
});

/** What an operator types, with buf, against a server whose contract buf has not seen. */
async function bufCurl(...args: string[]): Promise<string> {
  const env = { PATH: process.env.PATH, HOME: cache, BUF_CACHE_DIR: cache };
  const { stdout } = await promisify(execFile)(BUF, ['curl', ...args], { env, cwd: cache });
  return stdout;
}

describe.each([
  ['the gRPC port', () => [`http://127.0.0.1:${served.grpc}`, '--protocol', 'grpc', '--http2-prior-knowledge']],
  ['the HTTP port with TLS, gRPC', () => [`https://127.0.0.1:${served.https}`, '--protocol', 'grpc', '--insecure']],
  ['the HTTP port with TLS, Connect', () => [`https://127.0.0.1:${served.https}`, '--insecure']],
])('buf curl, %s', (_name, target) => {
  test('lists services and methods', async () => {
    const [url = '', ...flags] = target();
    const listed = await bufCurl(...flags, '--list-methods', url);
    expect(listed).toContain('amrutam.availability.v1.AvailabilityService/GetSlot');
    expect(listed).toContain('grpc.health.v1.Health/Check');
  });

  test.each(['grpc-v1', 'grpc-v1alpha'])('calls without knowing the contract, by %s', async (reflect) => {
    const [url = '', ...flags] = target();
    const method = `${url}/amrutam.availability.v1.AvailabilityService/GetSlot`;
    const answer = await bufCurl(
      ...flags,
      '--reflect',
      '--reflect-protocol',
      reflect,
      '-d',
      JSON.stringify({ slotId: ID }),
      method,
    );
    expect(JSON.parse(answer)).toEqual({ slot: { id: ID } });
  });
});
