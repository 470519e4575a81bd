import type { Chunk } from './generator-connection.ts';

/** What the generator is told to do. */
export interface Command {
  /** Of 127.0.0.1; connections are spread over them in turn. */
  readonly ports: readonly number[];
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly connections: number;
  /** Calls under way at once, over all connections. */
  readonly inFlight: number;
  /** Request headers of each who calls. */
  readonly callers: readonly Readonly<Record<string, string>>[];
  readonly calls: readonly Chunk[];
  /** Absent: each call is made once. */
  readonly seconds?: number | undefined;
}

/** What came of it. Milliseconds. */
export interface Measured {
  /** Of each call that was answered with a message. */
  readonly latencies: Float64Array;
  /** Of each call that was refused. */
  readonly refusedAfter: Float64Array;
  readonly elapsedMs: number;
  /** CPU time of the generator itself; NaN when it isn't known. */
  readonly cpuMs: number;
}
