import type { Config } from './config.ts';
import type { Snapshot } from './metrics/metrics.ts';
import type { Ports } from './serve.ts';

/** What a supervisor tells one of its processes: what to serve, to say what it has counted, and to stop. Nothing of it is seen in process lists. */
export type Order = { readonly serve: Config } | { readonly count: true } | { readonly stop: true };

/** What a process tells its supervisor: that it serves, or why it can't; and what it has counted. */
export type Report = { readonly serving: Ports } | { readonly failure: string } | { readonly counted: Snapshot };
