import { setTimeout as sleep } from 'node:timers/promises';
import type { Service } from '../test/support/process-service.ts';

/** What probes were told of instances while something happened to them. */
export interface HealthWatch {
  /** Resolves with the milliseconds from `since` (performance.now()) until every instance says that it is ready. */
  readyAfter(since: number, withinMs: number): Promise<number>;
  /** Ends it. Throws when an instance was not alive, or, with `mustNotice`, never said that it is not ready. */
  stop(mustNotice?: boolean): Promise<void>;
}

const EVERY_MS = 200;
/** A busy machine may take its time. */
const PROBE_MS = 10_000;

/** Asks each of `services` all the time whether it is ready, and whether it is alive. */
export function watchHealth(services: readonly Service[]): HealthWatch {
  const noticed = new Set<number>();
  let dead: string | undefined;
  let stopped = false;
  const run = async ({ httpPort, pid }: Service) => {
    for (; !stopped && !dead; await sleep(EVERY_MS)) {
      if ((await statusOf(httpPort, 'livez')) !== 200) dead = `instance ${pid} was not alive`;
      if ((await statusOf(httpPort, 'readyz')) === 503) noticed.add(pid);
    }
  };
  const running = Promise.all(services.map(run));
  return {
    async readyAfter(since, withinMs) {
      for (;;) {
        const answers = await Promise.all(services.map(({ httpPort }) => statusOf(httpPort, 'readyz')));
        if (answers.every((status) => status === 200)) return performance.now() - since;
        if (performance.now() - since > withinMs) throw new Error(`not ready again within ${withinMs} ms: ${answers}`);
        await sleep(50);
      }
    },
    async stop(mustNotice = false) {
      stopped = true;
      await running;
      if (dead) throw new Error(dead);
      if (mustNotice && noticed.size < services.length)
        throw new Error('an instance said all the time that it is ready');
    },
  };
}

async function statusOf(port: number, page: string): Promise<number> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/${page}`, { signal: AbortSignal.timeout(PROBE_MS) })).status;
  } catch {
    return 0;
  }
}
