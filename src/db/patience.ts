import { AsyncLocalStorage } from 'node:async_hooks';

/** How long whoever asks the database waits for it. */
export interface Patience {
  /** Aborts when nobody waits any more. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds that one statement may take; absent: what the connection was started with. */
  readonly statementMs?: number | undefined;
}

const current = new AsyncLocalStorage<Patience>();

/** Does `work` with this patience: between it and the connections it asks lies a library that has no room for it. */
export function withPatience<T>(patience: Patience, work: () => T): T {
  return current.run(patience, work);
}

/** The patience of the code that runs now. */
export function patience(): Patience {
  return current.getStore() ?? {};
}
