import { spawnSync } from 'node:child_process';

/** Runs a program to its end and answers what it wrote to standard output. Throws an Error with all it wrote when it fails. */
export function run(program: string, args: readonly string[], { env = process.env } = {}): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    input: '',
    env,
    maxBuffer: 2 ** 26,
  });
  if (status === 0) return stdout;
  throw new Error(`${program} ${args.join(' ')}\n${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`);
}
