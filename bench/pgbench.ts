import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sqlIdOf } from './clinic.ts';
import type { Measured } from './generator-protocol.ts';
import type { Differing, RecordedBooking, Value } from './recorded-booking.ts';

/** Whether pgbench is on the path. */
export function hasPgbench(): boolean {
  return spawnSync('pgbench', ['--version']).status === 0;
}

/** Bookings to make by pgbench: those of the slots from `first` on, each by the patient of the same number. */
export interface PgbenchRun {
  readonly url: string;
  readonly clients: number;
  readonly first: number;
  /** A multiple of `clients`. */
  readonly bookings: number;
  /** Doctors, and as many patients. */
  readonly doctors: number;
}

/** Makes the recorded booking with prepared statements, all connected before. `cpuMs` is NaN. */
export async function pgbench(recorded: RecordedBooking, run: PgbenchRun): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-pgbench-'));
  try {
    const file = join(folder, 'booking.sql');
    await writeFile(file, pgbenchScript(recorded, run.doctors));
    const each = run.bookings / run.clients;
    const options = ['-n', '-M', 'prepared', '-f', file, '-c', `${run.clients}`, '-j', '2', '-t', `${each}`];
    const log = ['-l', '--log-prefix', join(folder, 'log')];
    const variables = ['-D', 'i=0', '-D', `each=${each}`, '-D', `first=${run.first}`];
    const { stdout, stderr } = await promisify(execFile)('pgbench', [...options, ...log, ...variables, run.url]);
    const perSecond = /tps = ([\d.]+) \(without/.exec(stdout)?.[1];
    if (perSecond === undefined || !/failed transactions: 0 /.test(stdout))
      throw new Error(`pgbench:\n${stdout}${stderr}`);
    const latencies = await latenciesIn(folder);
    const elapsedMs = (latencies.length / Number(perSecond)) * 1000;
    return { latencies, refusedAfter: new Float64Array(), elapsedMs, cpuMs: Number.NaN };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** From its logs: one a thread, a line a transaction, whose third word is in microseconds. */
async function latenciesIn(folder: string): Promise<Float64Array> {
  const files = (await readdir(folder)).filter((name) => name.startsWith('log'));
  const logs = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
  const lines = logs.flatMap((log) => log.trimEnd().split('\n'));
  return Float64Array.from(lines, (line) => Number(line.split(' ')[2]) / 1000);
}

/**
 * The booking as a script. Of the variables `client_id` is pgbench's own; `first`, `each` (bookings of a client) and `i` (0) are
 * to be given. What was sent together is sent together.
 */
export function pgbenchScript({ statements, startAt }: RecordedBooking, doctors: number): string {
  const sqlOf = (value: Value): string => {
    if ('list' in value) return `ARRAY[${value.list.map(sqlOf).join(', ')}]`;
    return 'each' in value ? EACH[value.each](doctors, startAt) : literal(value.fixed);
  };
  const lines = statements.flatMap(({ text, values, withNext }, at) => {
    // Of the last first: $12 isn't $1 and a 2.
    const filled = values.reduceRight<string>((sql, value, i) => sql.replaceAll(`$${i + 1}`, () => sqlOf(value)), text);
    const withLast = statements[at - 1]?.withNext ?? false;
    return [
      ...(withNext && !withLast ? ['\\startpipeline'] : []),
      `${filled.replace(/\s+/g, ' ')};`,
      ...(withLast && !withNext ? ['\\endpipeline'] : []),
    ];
  });
  return ['\\set n :first + :client_id * :each + :i', '\\set i :i + 1', ...lines, ''].join('\n');
}

const start = (doctors: number, startAt: Date) =>
  `('${startAt.toISOString()}'::timestamptz + :n / ${doctors} / 16 * interval '1 day' + :n / ${doctors} % 16 * interval '30 min')`;

const EACH: Record<Differing, (doctors: number, startAt: Date) => string> = {
  patient: (doctors) => sqlIdOf('patient', `:n % ${doctors}`),
  session: (doctors) => sqlIdOf('session', `:n % ${doctors}`),
  doctor: (doctors) => sqlIdOf('doctor', `:n % ${doctors}`),
  slot: () => sqlIdOf('slot', ':n'),
  request: () => sqlIdOf('request', ':n'),
  booking: () => sqlIdOf('booking', ':n'),
  event: () => sqlIdOf('event', ':n'),
  start,
  end: (doctors, startAt) => `(${start(doctors, startAt)} + interval '30 min')`,
  now: () => 'now()',
};

function literal(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  if (Buffer.isBuffer(value)) return `'\\x${value.toString('hex')}'::bytea`;
  if (typeof value === 'number') return `${value}`;
  return `'${String(value).replaceAll("'", "''")}'`;
}
