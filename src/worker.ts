import cluster from 'node:cluster';
import type { Config } from './config.ts';
import { openDatabase } from './database.ts';
import { createLog, logWhatLibrariesPrint } from './log.ts';
import { countedBySupervisor } from './process-counts.ts';
import type { Order, Report } from './process-messages.ts';
import { serve } from './serve.ts';
import { stopWhenAsked } from './stopping.ts';
import { startTracing } from './tracing/start-tracing.ts';

// One of several processes that share the ports. Started by processes.ts, told by messages what to serve, and ends with it.

/** Before it serves, it has nothing to bring to an end, and has counted nothing. */
let stop = (_why: string): void => process.exit(0);
let count = async (): Promise<void> => {};

process.on('message', (order: Order) => {
  if ('serve' in order) work(order.serve).catch(fail);
  if ('count' in order) void count();
  if ('stop' in order) stop('told by the supervisor');
});
process.on('disconnect', () => stop('the supervisor is gone'));
// Or Node would end the process as soon as the supervisor is gone, and with it the calls in flight.
if (cluster.worker) cluster.worker.exitedAfterDisconnect = true;

async function work(config: Config): Promise<void> {
  const log = createLog(config.logLevel).child({ instance: config.instance });
  logWhatLibrariesPrint(log);
  const warn = (message: string) => log.warn({ problem: message }, 'database connection');
  const database = await openDatabase(config, { warn });
  const endTracing = await startTracing(config, log);
  const { ports, metrics, drain } = await serve(config, { log, database, counters: [countedBySupervisor()] });
  const tell = async () => {
    const [counted = []] = await metrics();
    report({ counted });
  };
  count = () => tell().catch((err) => log.error({ err }, 'the metrics could not be collected'));
  const end = stopWhenAsked(log, database, async () => {
    await drain();
    await count();
    await endTracing();
    await database.close();
  });
  stop = (why) => end(why, 0);
  report({ serving: ports });
}

function fail(error: Error): void {
  report({ failure: error.message }, () => process.exit(1));
}

function report(what: Report, sent: () => void = () => {}): void {
  process.send?.(what, sent);
}
