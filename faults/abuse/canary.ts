import { setTimeout as sleep } from 'node:timers/promises';
import { clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import type { Service } from '../../test/support/process-service.ts';

/** An honest client who calls all along, over connections of its own. */
export interface Canary {
  /** Ends it. Throws when calls failed, or when there were too few to tell. */
  stop(): Promise<CanaryFigures>;
  /** Ends it, whatever became of it. */
  hush(): void;
}

export interface CanaryFigures {
  readonly calls: number;
  /** Of the milliseconds that a call took. */
  readonly p99: number;
}

const PAUSE_MS = 40;
/** Calls in flight from the first attack on; fewer say nothing. */
const FEWEST = 20;

/** Looks for a doctor over gRPC and over JSON in turn, from the address 127.0.0.1. */
export function startCanary(service: Service): Canary {
  const clients = clientsOf(service);
  const took: number[] = [];
  const failed: string[] = [];
  let stopped = false;
  const sing = async () => {
    for (let turn = 0; !stopped; turn++) {
      const startedAt = performance.now();
      const { availability } = clients.turn(turn);
      const call = () => outcomeOf({ timeoutMs: 5_000 }, (as) => availability.searchDoctors({ pageSize: 1 }, as));
      let { reason } = await call();
      // Whoever is asked to come again does so, once.
      if (reason === 'OVERLOADED') {
        await sleep(500);
        ({ reason } = await call());
      }
      took.push(performance.now() - startedAt);
      if (reason !== 'OK') failed.push(reason);
      await sleep(PAUSE_MS);
    }
  };
  const singing = sing();
  const hush = () => {
    stopped = true;
  };
  return {
    hush,
    async stop() {
      hush();
      await singing;
      if (failed.length > 0)
        throw new Error(`${failed.length} of ${took.length} honest calls failed: ${[...new Set(failed)]}`);
      if (took.length < FEWEST) throw new Error(`only ${took.length} honest calls were answered`);
      took.sort((a, b) => a - b);
      return { calls: took.length, p99: Math.round(took[Math.floor(took.length * 0.99)] ?? 0) };
    },
  };
}
