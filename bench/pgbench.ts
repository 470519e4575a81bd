import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sqlIdOf } from './clinic.ts';
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
  readonly bookings: number;
  /** Doctors, and as many patients. */
  readonly doctors: number;
}

/** Makes the recorded booking with prepared statements. Answers bookings a second, without the time to connect. */
export async function pgbench(recorded: RecordedBooking, run: PgbenchRun): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-pgbench-'));
  try {
    const file = join(folder, 'booking.sql');
    await writeFile(file, script(recorded, run));
    const each = Math.ceil(run.bookings / run.clients);
    const options = ['-n', '-M', 'prepared', '-f', file, '-c', `${run.clients}`, '-j', '2', '-t', `${each}`];
    // client_id is pgbench's own.
    const variables = ['-D', `i=0`, '-D', `each=${each}`, '-D', `first=${run.first}`];
    const { stdout, stderr } = await promisify(execFile)('pgbench', [...options, ...variables, run.url]);
    const perSecond = /tps = ([\d.]+) \(without/.exec(stdout)?.[1];
    if (perSecond === undefined || !/failed transactions: 0 /.test(stdout))
      throw new Error(`pgbench:\n${stdout}${stderr}`);
    return Number(perSecond);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function script({ statements, startAt }: RecordedBooking, { doctors }: PgbenchRun): string {
  const sqlOf = (value: Value): string => {
    if ('list' in value) return `ARRAY[${value.list.map(sqlOf).join(', ')}]`;
    return 'each' in value ? EACH[value.each](doctors, startAt) : literal(value.fixed);
  };
  const lines = statements.map(({ text, values }) => {
    // Of the last first: $12 isn't $1 and a 2.
    const filled = values.reduceRight<string>((sql, value, i) => sql.replaceAll(`$${i + 1}`, () => sqlOf(value)), text);
    return `${filled.replace(/\s+/g, ' ')};`;
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
