import { renameSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';

// Loaded into a server before its own code (node --import): SIGUSR2 begins a CPU profile, the next one ends it and writes it to
// the file that BENCH_PROFILE names. The file is there when it is whole.

/** Microseconds between two looks at the stack. */
const INTERVAL = 250;

const file = process.env.BENCH_PROFILE as string;
const session = new Session();
session.connect();
let running = false;

process.on('SIGUSR2', async () => {
  running = !running;
  if (running) {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: INTERVAL });
    await session.post('Profiler.start');
  } else {
    const { profile } = await session.post('Profiler.stop');
    writeFileSync(`${file}.part`, JSON.stringify(profile));
    renameSync(`${file}.part`, file);
  }
});
