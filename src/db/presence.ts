/** Whether the database is there, as far as this process knows. */
export interface Presence {
  /** Something makes it doubtful: who needs the database next asks first. */
  doubt(): void;
  /**
   * Resolves at once while nothing is known against it. When it is doubtful, waits for one question that all share; when
   * it is known to be away, throws why at once, and has it asked again meanwhile.
   */
  check(): Promise<void>;
}

/** Milliseconds between two questions to a database that is away. */
const PAUSE_MS = 100;

/** `ask` resolves when the database is there, and rejects otherwise, within a bounded time. */
export function createPresence(ask: () => Promise<void>): Presence {
  let state: 'there' | 'doubtful' | 'away' = 'there';
  let why: unknown;
  let asking: Promise<void> | undefined;
  let askedAt = 0;
  const question = () => {
    asking ??= ask()
      .then(
        () => {
          state = 'there';
        },
        (error: unknown) => {
          [state, why] = ['away', error];
        },
      )
      .finally(() => {
        [asking, askedAt] = [undefined, performance.now()];
      });
    return asking;
  };
  return {
    doubt() {
      if (state === 'there') state = 'doubtful';
    },
    async check() {
      if (state === 'there') return;
      if (state === 'doubtful') await question();
      else if (performance.now() - askedAt > PAUSE_MS) void question();
      if (state === 'away') throw why;
    },
  };
}
