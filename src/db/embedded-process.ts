import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Account } from './embedded-account.ts';

/** A program that ends when this process does. */
export interface Supervised {
  /** Resolves, to words like "exit code 1", when the program has ended for whatever reason. Never rejects. */
  readonly exited: Promise<string>;
  /** The newest lines it wrote to its standard error, at most 20. */
  readonly lastLines: readonly string[];
  /** Asks it to end: SIGINT, and SIGQUIT after 20 s. Returns at once; wait for `exited`. */
  end(): void;
}

/**
 * Standard input is a pipe from us that never carries a byte: it closes when we close it or when we are gone, kill -9
 * included. SIGINT is repeated because a server that is just starting ignores the first. Signals sent to the whole
 * service (systemd stops that way) pass the supervisor by, so that it outlives the server.
 */
const SUPERVISOR = `
trap '' HUP INT TERM
exec 3<&0 </dev/null
"$@" 3<&- & program=$!
{ read -r nothing <&3
  n=0
  while [ $n -lt 20 ]; do kill -INT $program || exit; sleep 1; n=$((n + 1)); done
  kill -QUIT $program
} >/dev/null 2>&1 & watch=$!
wait $program; status=$?
kill -KILL $watch
exit $status`;

/**
 * Starts a program as the given account, in a session of its own: Ctrl-C in the terminal reaches only us.
 * Every line of its standard error goes to `onLog`.
 */
export function supervise(command: readonly string[], account: Account, onLog?: (line: string) => void): Supervised {
  const child = spawn('/bin/sh', ['-c', SUPERVISOR, 'embedded-postgres', ...account.via, ...command], {
    ...account.spawnAs,
    cwd: '/',
    detached: true,
    env: BARE_ENVIRONMENT,
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  const lastLines: string[] = [];
  child.stdin.on('error', () => {});
  createInterface({ input: child.stderr }).on('line', (line) => {
    lastLines.push(line);
    if (lastLines.length > 20) lastLines.shift();
    onLog?.(line);
  });
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => {
      const ended = () => resolve(signal ?? `exit code ${code}`);
      child.once('close', ended);
      // A stray backend may hold the log open; the server is gone all the same.
      setTimeout(ended, 1_000).unref();
    });
  });
  return { exited, lastLines, end: () => child.stdin.end() };
}

/** All the environment PostgreSQL's programs get: our secrets and PG* variables stay out, messages come in English. */
export const BARE_ENVIRONMENT = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C' } as const;
