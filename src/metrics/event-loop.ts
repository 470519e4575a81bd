import { Histogram, type Registry } from 'prom-client';

const EVERY_MS = 50;
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/**
 * Measures by how much a timer is late, which is how long anything new waits for the process: a histogram, because those of
 * several processes can be added up and asked for any stretch of time. The function it returns ends it.
 */
export function watchEventLoop(registry: Registry): () => void {
  const delays = new Histogram({
    name: 'event_loop_delay_seconds',
    help: 'By how much a timer was late, looked at twenty times a second.',
    buckets: BUCKETS,
    registers: [registry],
  });
  let due = performance.now() + EVERY_MS;
  const look = () => {
    const now = performance.now();
    delays.observe(Math.max(0, now - due) / 1000);
    due = now + EVERY_MS;
  };
  const timer = setInterval(look, EVERY_MS).unref();
  return () => clearInterval(timer);
}
