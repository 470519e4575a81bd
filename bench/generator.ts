import { type Chunk, openConnection } from './generator-connection.ts';
import type { Command, Measured } from './generator-protocol.ts';

// A process of its own, so that what it costs is counted apart. Started by load.ts, told by messages what to call.

process.on('message', (command: Command) => {
  run(command).then(
    (measured) => process.send?.(measured),
    (error: Error) => process.send?.({ failure: error.message }),
  );
});
process.on('disconnect', () => process.exit(0));

/** Makes the calls with so many under way at once, until all are made or the time is up. */
async function run({ ports, connections, inFlight, callers, calls, path, seconds }: Command): Promise<Measured> {
  const opened = await Promise.all(
    Array.from({ length: connections }, (_, i) =>
      openConnection({ port: ports[i % ports.length] as number, path, callers }),
    ),
  );
  const before = process.cpuUsage();
  const startedAt = performance.now();
  const until = seconds === undefined ? Number.POSITIVE_INFINITY : startedAt + seconds * 1000;
  const latencies: number[] = [];
  const refusedAfter: number[] = [];
  let next = 0;
  const nextChunk = (): Chunk | undefined => {
    // With a time to fill, the calls are made again and again.
    if (seconds !== undefined && next === calls.length) next = 0;
    return performance.now() < until ? calls[next++] : undefined;
  };
  const lane = async (index: number) => {
    const { call } = opened[index % connections] as (typeof opened)[number];
    for (let chunk = nextChunk(); chunk; chunk = nextChunk()) {
      const sentAt = performance.now();
      const answered = await call(chunk);
      (answered ? latencies : refusedAfter).push(performance.now() - sentAt);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, i) => lane(i)));
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(before);
  for (const { close } of opened) close();
  return {
    latencies: Float64Array.from(latencies),
    refusedAfter: Float64Array.from(refusedAfter),
    elapsedMs,
    cpuMs: (user + system) / 1000,
  };
}
