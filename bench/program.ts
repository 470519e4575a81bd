import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Profiled } from './profiles.ts';

/** A server of the benchmarks' own, as a process. */
export interface Program {
  readonly grpcPort: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/**
 * Starts a file of this folder that says `{"grpcPort":…}` when it serves, and ends with its standard input, as with us. Throws an
 * Error when it ends before it serves.
 */
export async function startProgram(
  file: string,
  args: readonly string[] = [],
  { flags, env }: Profiled = { flags: [], env: {} },
): Promise<Program> {
  const child = spawn(process.execPath, [...flags, file, ...args], {
    cwd: import.meta.dirname,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((done) => void child.once('exit', () => done()));
  for await (const line of createInterface({ input: child.stdout })) {
    const { grpcPort } = JSON.parse(line) as { grpcPort: number };
    const stop = () => {
      child.kill('SIGKILL');
      return ended;
    };
    return { grpcPort, pid: child.pid as number, stop };
  }
  throw new Error(`bench/${file} ended before it served`);
}
