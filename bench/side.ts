import { cpuOf } from './cpu.ts';
import type { Measured } from './generator-protocol.ts';
import { median, quantile } from './quantile.ts';

/** CPU milliseconds for each thousand calls; undefined where they aren't known. */
export interface Cpu {
  readonly service?: number | undefined;
  readonly postgres?: number | undefined;
  readonly generator?: number | undefined;
}

/** One run of load, or the medians of several. Milliseconds. */
export interface Round {
  readonly calls: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly cpu: Cpu;
}

/** One of those compared: its medians over all rounds. */
export interface Side extends Round {
  readonly name: string;
  readonly inFlight: number;
  /** Each round's calls a second. */
  readonly rounds: readonly number[];
}

/** The processes that do the work. */
export interface Workers {
  readonly service?: readonly number[];
  readonly postgres?: number | undefined;
}

/** Makes the load and counts what it cost. Throws an Error unless every call was answered with a message. */
export async function roundOf(load: () => Promise<Measured>, { service = [], postgres }: Workers): Promise<Round> {
  const used = () => ({
    service: service.length ? cpuOf(...service) : undefined,
    postgres: postgres && cpuOf(postgres),
  });
  const before = used();
  const { latencies, refusedAfter, elapsedMs, cpuMs } = await load();
  const after = used();
  if (refusedAfter.length)
    throw new Error(`${refusedAfter.length} of ${latencies.length + refusedAfter.length} calls were refused`);
  const calls = latencies.length;
  const each = (from: number | undefined, to: number | undefined) =>
    from === undefined || to === undefined ? undefined : ((to - from) / calls) * 1000;
  return {
    calls,
    perSecond: (calls / elapsedMs) * 1000,
    p50: quantile(latencies, 0.5),
    p95: quantile(latencies, 0.95),
    p99: quantile(latencies, 0.99),
    cpu: {
      service: each(before.service, after.service),
      postgres: each(before.postgres, after.postgres),
      generator: Number.isNaN(cpuMs) ? undefined : each(0, cpuMs),
    },
  };
}

/** The medians of some rounds; `calls` are all of them. */
export function sideOf(name: string, inFlight: number, rounds: readonly Round[]): Side {
  const middle = (pick: (round: Round) => number) => median(rounds.map(pick));
  const known = (pick: (cpu: Cpu) => number | undefined) => {
    const values = rounds.map(({ cpu }) => pick(cpu)).filter((value) => value !== undefined);
    return values.length ? median(values) : undefined;
  };
  return {
    name,
    inFlight,
    calls: rounds.reduce((sum, { calls }) => sum + calls, 0),
    perSecond: middle(({ perSecond }) => perSecond),
    p50: middle(({ p50 }) => p50),
    p95: middle(({ p95 }) => p95),
    p99: middle(({ p99 }) => p99),
    cpu: {
      service: known(({ service }) => service),
      postgres: known(({ postgres }) => postgres),
      generator: known(({ generator }) => generator),
    },
    rounds: rounds.map(({ perSecond }) => perSecond),
  };
}
