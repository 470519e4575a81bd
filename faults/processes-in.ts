import { readdirSync, readFileSync } from 'node:fs';

/** A process, and how its title or command line reads. */
export interface Process {
  readonly pid: number;
  readonly command: string;
}

/**
 * The processes that work in `folder`, whoever has started them: those that name it in their command line, such as a postmaster
 * and its -D, and their children.
 */
export function processesIn(folder: string): readonly Process[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const seen = all.flatMap((name) => {
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const [, parent] = /^\d+ \(.*\) . (\d+)/s.exec(readFileSync(`/proc/${name}/stat`, 'utf8')) ?? [];
      return [{ pid: Number(name), parent: Number(parent), command }];
    } catch {
      return []; // it has ended meanwhile
    }
  });
  const roots = new Set(seen.filter(({ command }) => command.includes(folder)).map(({ pid }) => pid));
  return seen.filter(({ pid, parent }) => pid !== process.pid && (roots.has(pid) || roots.has(parent)));
}

/** Sends `signal` to all of them; those that have ended meanwhile don't mind. */
export function signalAll(processes: readonly Process[], signal: NodeJS.Signals): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as { code?: string }).code !== 'ESRCH') throw error;
    }
  }
}
