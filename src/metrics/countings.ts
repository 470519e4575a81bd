import { Counter, Histogram, type Registry } from 'prom-client';
import type { Found } from '../availability/listing-cache.ts';
import { STRAYS, type Stray } from '../rpc/turned-away.ts';

/** What happens beside and below calls. */
export interface Counting {
  /** A listing was asked for, and there it was found. */
  listed(found: Found): void;
  /** So was a report. */
  reported(found: Found): void;
  /** A list or report was to be read that a replica may answer: whether it did. */
  listedAt(replica: boolean): void;
  /** A statement was answered, or has failed. */
  asked(seconds: number, failed: boolean): void;
  turnedAway(stray: Stray): void;
}

/** Seconds. */
const STATEMENT_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const FOUND: readonly Found[] = ['memory', 'underway', 'shared', 'database'];

export function countings(registry: Registry): Counting {
  const registers = [registry];
  const cached = new Counter({
    name: 'cache_requests_total',
    help: 'Public listings and reports that were asked for, by where the answer was: memory, underway (somebody was reading it), shared (Redis), database.',
    labelNames: ['cache', 'found'],
    registers,
  });
  const statements = new Histogram({
    name: 'db_statement_duration_seconds',
    help: 'Time of a statement, as calls and jobs wait for it.',
    labelNames: ['result'],
    buckets: STATEMENT_BUCKETS,
    registers,
  });
  const reads = new Counter({
    name: 'db_replica_reads_total',
    help: 'Lists and reports that were to be read where there is a replica, by who was asked in the end: replica, or database because the replica could not be used.',
    labelNames: ['at'],
    registers,
  });
  const strays = new Counter({
    name: 'turned_away_total',
    help: 'What was turned away before it was a call.',
    labelNames: ['why'],
    registers,
  });
  for (const at of ['replica', 'database']) reads.inc({ at }, 0);
  for (const why of STRAYS) strays.inc({ why }, 0);
  const inCache = (cache: string) => {
    const children = Object.fromEntries(FOUND.map((found) => [found, cached.labels(cache, found)]));
    for (const found of FOUND) children[found]?.inc(0);
    return (found: Found) => children[found]?.inc();
  };
  const [answered, failures] = [statements.labels('ok'), statements.labels('failed')];
  return {
    listed: inCache('listings'),
    reported: inCache('reports'),
    listedAt: (replica) => reads.inc({ at: replica ? 'replica' : 'database' }),
    asked: (seconds, failed) => (failed ? failures : answered).observe(seconds),
    turnedAway: (stray) => strays.inc({ why: stray }),
  };
}
