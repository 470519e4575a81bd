import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';

const PROGRAM = fileURLToPath(new URL('log-output.fixture.ts', import.meta.url));
const MiB = 1024 * 1024;

const started: ChildProcess[] = [];

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

function start(way: string, stdout: 'pipe' | number = 'pipe'): ChildProcess {
  const child = spawn(process.execPath, [PROGRAM, way], { stdio: ['pipe', stdout, 'pipe'] });
  started.push(child);
  return child;
}

async function messagesOf({ stdout }: ChildProcess): Promise<string[]> {
  if (!stdout) throw new Error('it writes elsewhere');
  const lines = (await text(stdout)).trimEnd().split('\n');
  return lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
}

/** What a flood has said of itself, when it is over. */
async function flooded({ stderr }: ChildProcess): Promise<{ pauseMs: number; bytes: number }> {
  if (!stderr) throw new Error('it says nothing');
  const [said] = await once(stderr, 'data');
  return JSON.parse(String(said));
}

test.each([
  ['its last line', 'end', 0],
  ['process.exit', 'exit', 0],
  ['an error that nobody catches', 'throw', 1],
])('a process that ends with %s has written all', async (_, way, code) => {
  const child = start(way);
  const exit = once(child, 'exit');
  expect(await messagesOf(child)).toEqual(['the last']);
  expect(await exit).toEqual([code, null]);
});

test('a warning is out at once, with all before it', async () => {
  expect(await messagesOf(start('warn'))).toEqual(['before', 'the last']);
});

test('kill -9 loses the last lines, and none that are older', async () => {
  expect(await messagesOf(start('kill'))).toEqual(['before']);
});

test('a reader who stops costs neither time nor memory; when it goes on, it learns how many lines it has missed', async () => {
  const child = start('flood');
  const { pauseMs, bytes } = await flooded(child);
  expect(pauseMs).toBeLessThan(500);
  expect(bytes).toBeLessThan(160 * MiB);
  const [lines] = await Promise.all([text(child.stdout as NonNullable<typeof child.stdout>), child.stdin?.end('.')]);
  const logged = lines
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { msg: string; lines?: number });
  const kept = logged.filter(({ msg }) => msg === 'flood').length;
  const missed = logged.reduce((sum, one) => sum + (one.lines ?? 0), 0);
  expect(kept).toBeGreaterThan(3_000);
  expect(kept).toBeLessThan(10_000);
  expect(kept + missed).toBeGreaterThanOrEqual(40_000);
  expect(kept + missed).toBeLessThanOrEqual(40_001);
});

test('a reader who has stopped is waited for at the end, but not for long', async () => {
  const child = start('flood');
  await flooded(child);
  const askedAt = performance.now();
  child.stdin?.end('.');
  expect(await once(child, 'exit')).toEqual([0, null]);
  expect(performance.now() - askedAt).toBeLessThan(5_000);
});

test('a reader who has gone harms nobody', async () => {
  const child = start('flood');
  child.stdout?.destroy();
  expect((await flooded(child)).bytes).toBeLessThan(160 * MiB);
  child.stdin?.end('.');
  expect(await once(child, 'exit')).toEqual([0, null]);
});

(existsSync('/dev/full') ? test : test.skip)('a full disk harms nobody', async () => {
  const full = await open('/dev/full', 'w');
  const child = start('flood', full.fd);
  await flooded(child);
  child.stdin?.end('.');
  expect(await once(child, 'exit')).toEqual([0, null]);
  await full.close();
});
