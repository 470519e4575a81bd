import type { Database } from './database.ts';
import type { Logger } from './log.ts';

/** Begins to stop, unless that has begun already. */
export type Stop = (why: string, exitCode: number) => void;

/**
 * SIGTERM and SIGINT drain and exit 0; a second one exits at once. What should never happen drains too, and exits 1. So may
 * others by the function it returns, after which a signal is still the first: Ctrl-C reaches a process and those it would tell.
 */
export function stopWhenAsked(log: Logger, database: Pick<Database, 'lost'>, drain: () => Promise<void>): Stop {
  let [stopping, urgent] = [false, false];
  const stop: Stop = async (why, exitCode) => {
    if (stopping) return;
    stopping = true;
    log.info({ why }, 'stopping');
    await drain().catch((error: unknown) => log.error({ err: error }, 'while stopping'));
    log.info('stopped');
    process.exit(exitCode);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (urgent) process.exit(1);
      urgent = true;
      stop(signal, 0);
    });
  }
  const fail = (why: string, fields: object, words: string) => {
    log.fatal(fields, words);
    urgent = true;
    stop(why, 1);
  };
  for (const event of ['unhandledRejection', 'uncaughtException'])
    process.on(event, (err) => fail('unexpected error', { err }, 'an error that nobody expected'));
  void database.lost.then(() => {
    if (!stopping) fail('database lost', {}, 'the embedded database has ended by itself');
  });
  return stop;
}
