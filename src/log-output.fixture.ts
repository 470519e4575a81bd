import { once } from 'node:events';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { createLog } from './log.ts';

// A program that logs and ends, in the way that it is given; run by tests.

const log = createLog('info');
const kill = () => process.kill(process.pid, 'SIGKILL');

const WAYS: Readonly<Record<string, () => unknown>> = {
  end: () => log.info('the last'),
  exit: () => {
    log.info('the last');
    process.exit();
  },
  throw: () => {
    log.info('the last');
    throw new Error('planned');
  },
  warn: () => {
    log.info('before');
    log.warn('the last');
    kill();
  },
  kill: async () => {
    log.info('before');
    await sleep(300);
    log.info('the last');
    kill();
  },
  /** Forty megabytes, of which it says on standard error what they did to it; asked on standard input, one line more. */
  flood: async () => {
    const text = 'x'.repeat(1_000);
    let [before, pauseMs] = [performance.now(), 0];
    for (let i = 0; i < 40_000; i++) {
      log.info({ text }, 'flood');
      if (i % 20 === 0) await turn();
      pauseMs = Math.max(pauseMs, performance.now() - before);
      before = performance.now();
    }
    process.stderr.write(JSON.stringify({ pauseMs, bytes: process.memoryUsage().rss }));
    await once(process.stdin, 'data');
    log.info('the last');
    process.exit();
  },
};

await WAYS[process.argv[2] ?? '']?.();
