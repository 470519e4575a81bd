import { cpuOf } from './cpu.ts';
import type { Measured } from './generator-protocol.ts';
import type { Parts } from './profile-parts.ts';
import type { Profiles } from './profiles.ts';
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
  /** Microseconds of the service's CPU a call, by part of the program; absent unless it was profiled. */
  readonly parts?: Parts | undefined;
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
  /** With which the one process of the service is profiled. */
  readonly profiles?: Profiles | undefined;
}

/** Makes the load and counts what it cost. Throws an Error unless every call was answered with a message. */
export async function roundOf(
  load: () => Promise<Measured>,
  { service = [], postgres, profiles }: Workers,
): Promise<Round> {
  const used = () => ({
    service: service.length ? cpuOf(...service) : undefined,
    postgres: postgres && cpuOf(postgres),
  });
  const before = used();
  const [pid] = service;
  const [measured, shares] = profiles && pid ? await profiles.during(pid, load) : [await load(), undefined];
  const after = used();
  const { latencies, refusedAfter, elapsedMs, cpuMs } = measured;
  if (refusedAfter.length)
    throw new Error(`${refusedAfter.length} of ${latencies.length + refusedAfter.length} calls were refused`);
  const calls = latencies.length;
  const each = (from: number | undefined, to: number | undefined) =>
    from === undefined || to === undefined ? undefined : ((to - from) / calls) * 1000;
  const ofService = each(before.service, after.service);
  return {
    calls,
    perSecond: (calls / elapsedMs) * 1000,
    p50: quantile(latencies, 0.5),
    p95: quantile(latencies, 0.95),
    p99: quantile(latencies, 0.99),
    cpu: {
      service: ofService,
      postgres: each(before.postgres, after.postgres),
      generator: Number.isNaN(cpuMs) ? undefined : each(0, cpuMs),
    },
    parts: shares && ofService !== undefined ? scaled(shares, ofService) : undefined,
  };
}

/** Milliseconds for a thousand calls are microseconds for one. */
function scaled(shares: Parts, microseconds: number): Parts {
  return Object.fromEntries(Object.entries(shares).map(([name, share]) => [name, share * microseconds]));
}

/** The mean of each part. */
function meanParts(rounds: readonly Round[]): Parts | undefined {
  const all = rounds.map(({ parts }) => parts).filter((parts) => parts !== undefined);
  if (all.length === 0) return undefined;
  const names = new Set(all.flatMap((parts) => Object.keys(parts)));
  const mean = (name: string) => all.reduce((sum, parts) => sum + (parts[name] ?? 0), 0) / all.length;
  return Object.fromEntries([...names].map((name) => [name, mean(name)]));
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
    parts: meanParts(rounds),
  };
}
