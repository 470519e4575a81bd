import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { type Parts, partsOf } from './profile-parts.ts';

const PROFILER = pathToFileURL(join(import.meta.dirname, 'profiler.ts')).href;
const WRITTEN_MS = 30_000;

/** How a process is started so that it can be profiled. */
export interface Profiled {
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** CPU profiles of the servers, taken while load is on them. */
export interface Profiles {
  /** Makes the way to start one; tell `started` what process it has become. */
  prepare(): Profiled & { started(pid: number): void };
  /** Does `work` and answers each part's share of the CPU time that the process `pid` used meanwhile. */
  during<T>(pid: number, work: () => Promise<T>): Promise<readonly [result: T, shares: Parts]>;
}

/** Profiles that are written to `folder`. */
export function createProfiles(folder: string): Profiles {
  const files = new Map<number, string>();
  return {
    prepare() {
      const file = join(folder, `profile-${randomUUID()}`);
      return {
        flags: ['--import', PROFILER],
        env: { BENCH_PROFILE: file },
        started: (pid) => void files.set(pid, file),
      };
    },
    async during(pid, work) {
      const file = files.get(pid);
      if (!file) throw new Error(`process ${pid} can't be profiled`);
      process.kill(pid, 'SIGUSR2');
      const result = await work();
      process.kill(pid, 'SIGUSR2');
      const askedAt = performance.now();
      while (!existsSync(file)) {
        if (performance.now() - askedAt > WRITTEN_MS) throw new Error(`process ${pid} wrote no profile`);
        await sleep(20);
      }
      const shares = partsOf(JSON.parse(readFileSync(file, 'utf8')));
      rmSync(file);
      return [result, shares];
    },
  };
}
