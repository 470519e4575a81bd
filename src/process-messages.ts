import type { Config } from './config.ts';
import type { Ports } from './serve.ts';

/** What a supervisor tells one of its processes: what to serve, and to stop. Nothing of it is seen in process lists. */
export type Order = { readonly serve: Config } | { readonly stop: true };

/** What a process tells its supervisor: that it serves, or why it can't. */
export type Report = { readonly serving: Ports } | { readonly failure: string };
