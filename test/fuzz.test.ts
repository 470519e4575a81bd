import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { fuzz } from '../faults/fuzz/fuzz.ts';
import { brokenInvariants } from './support/people.ts';
import { startServer, type TestServer } from './support/server.ts';

const SEED = Number(process.env.FUZZ_SEED ?? randomInt(2 ** 31));
const SECONDS = 6;

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
});

afterAll(() => server.stop());

test(`whatever is sent, to every method over every wire as every role, the answer is one of the contract's (FUZZ_SEED=${SEED})`, async () => {
  const { shots, codes, findings } = await fuzz({ ports: server, backstage: server, seed: SEED, seconds: SECONDS });
  expect(findings).toEqual([]);
  expect(await brokenInvariants(server)).toEqual({});
  expect(shots).toBeGreaterThan(50);
  expect(Object.keys(codes)).toEqual(
    expect.arrayContaining(['OK', 'INVALID_ARGUMENT', 'UNAUTHENTICATED', 'NOT_FOUND']),
  );
});
