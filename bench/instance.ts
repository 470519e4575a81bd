import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const ROOT = resolve(import.meta.dirname, '..');
/** What `npm start` gives to node. */
const START = packageOf(ROOT).scripts.start.split(' ').slice(1);
const START_MS = 60_000;
const LOOK_MS = 5;

/** The service, as a process of its own whose output goes to a file. */
export interface Instance {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly pid: number;
  /** Milliseconds from its start until it said that it serves; looked at every 5 ms. */
  readonly startMs: number;
  stop(): Promise<void>;
}

type Environment = Readonly<Record<string, string>>;

/**
 * Starts it on free ports, with more `flags` for node where given; nothing of our own environment but the path decides. Throws an
 * Error with its output when it ends.
 */
export async function startInstance(
  env: Environment,
  folder: string,
  flags: readonly string[] = [],
): Promise<Instance> {
  const file = join(folder, `log-${randomUUID()}`);
  const log = openSync(file, 'w');
  const ports = { HOST: '127.0.0.1', GRPC_PORT: '0', HTTP_PORT: '0', METRICS_PORT: '0' };
  const base = { PATH: process.env.PATH ?? '', ...ports, DRAIN_DELAY: '0' };
  const startedAt = performance.now();
  const child = spawn(process.execPath, [...flags, ...START], {
    cwd: ROOT,
    env: { ...base, RATE_LIMITS: 'off', ...env },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const ended = new Promise<void>((done) => void child.once('exit', () => done()));
  const stop = () => {
    child.kill('SIGTERM');
    return ended;
  };
  try {
    for (;;) {
      const ports = portsIn(readFileSync(file, 'utf8'));
      if (ports) return { ...ports, pid: child.pid as number, startMs: performance.now() - startedAt, stop };
      if (child.exitCode !== null || performance.now() - startedAt > START_MS)
        throw new Error(`the service did not start:\n${readFileSync(file, 'utf8')}`);
      await sleep(LOOK_MS);
    }
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

function portsIn(log: string): { readonly grpcPort: number; readonly httpPort: number } | undefined {
  const line = log.split('\n').find((one) => one.includes('"msg":"serving"') && one.endsWith('}'));
  if (!line) return undefined;
  const { grpcPort, httpPort } = JSON.parse(line) as { grpcPort: number; httpPort: number };
  return { grpcPort, httpPort };
}

function packageOf(root: string): { readonly scripts: { readonly start: string } } {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
}
