import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { endProcesses } from '../test/support/process-service.ts';
import { brokenCopy } from './broken-copy.ts';
import type { Break, Drill, Report, Stage } from './drill.ts';
import { drills } from './drills/index.ts';
import { type Postgres, startPostgres } from './postgres.ts';
import { table } from './table.ts';

// npm run faults: all drills, or those named. --list names them; --seed N, --seconds N and --bookings N set what a stage says;
// --prove runs each against builds that are broken on purpose, and wants it to fail.

const ROOT = resolve(import.meta.dirname, '..');

/** One line of the table. */
export interface Ended {
  readonly drill: Drill;
  readonly brokenBy?: Break;
  readonly seconds: number;
  /** Absent when the drill failed. */
  readonly report?: Report;
  readonly failure?: string;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean' },
    prove: { type: 'boolean' },
    seed: { type: 'string' },
    seconds: { type: 'string' },
    bookings: { type: 'string' },
  },
});

const chosen = choose(positionals);
if (values.list) for (const { name, story } of drills) process.stdout.write(`${name.padEnd(28)} ${story}\n`);
else process.exitCode = (await perform(chosen)) ? 0 : 1;

function choose(names: readonly string[]): readonly Drill[] {
  const unknown = names.filter((name) => !drills.some((drill) => drill.name === name));
  if (unknown.length === 0) return names.length ? drills.filter(({ name }) => names.includes(name)) : drills;
  process.stderr.write(`There is no drill ${unknown.join(', ')}. npm run faults -- --list names them.\n`);
  process.exit(2);
}

async function perform(chosen: readonly Drill[]): Promise<boolean> {
  const dataDir = await mkdtemp(join(tmpdir(), 'amrutam-faults-'));
  const postgres = await startPostgres(dataDir, ['synchronous_commit=on', 'fsync=off']);
  const ended: Ended[] = [];
  try {
    for (const drill of chosen) {
      if (!values.prove) ended.push(await once(drill, postgres, ROOT));
      else for (const one of drill.breaks) ended.push(await onBrokenBuild(drill, one, postgres));
    }
  } finally {
    endProcesses();
    await postgres.end();
    await rm(dataDir, { recursive: true, force: true });
  }
  process.stdout.write(`\n${table(ended)}\n`);
  const skipped = ended.filter(({ report }) => report?.notRun).length;
  if (skipped) process.stdout.write(`\nNOT RUN: ${skipped}. Nothing is shown by them on this machine.\n`);
  const failed = ended.filter(({ failure }) => failure !== undefined);
  return failed.length === (values.prove ? ended.length : 0);
}

async function onBrokenBuild(drill: Drill, one: Break, postgres: Postgres): Promise<Ended> {
  const copy = await brokenCopy(ROOT, one);
  process.stdout.write(`\nBroken on purpose: ${one.means} (${one.file})\n`);
  try {
    return { ...(await once(drill, postgres, copy.root)), brokenBy: one };
  } finally {
    await copy.remove();
  }
}

async function once(drill: Drill, postgres: Postgres, root: string): Promise<Ended> {
  const startedAt = performance.now();
  const seconds = () => (performance.now() - startedAt) / 1000;
  const say = (line: string) => process.stdout.write(`${seconds().toFixed(1).padStart(7)} s  ${line}\n`);
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  const bookings = Number(values.bookings ?? 0);
  const stage: Stage = { say, seed, seconds: Number(values.seconds ?? 60), bookings, root, postgres };
  process.stdout.write(`\n${drill.name}: ${drill.story} (seed ${seed})\n`);
  try {
    const report = await drill.run(stage);
    say(report.notRun ? `NOT RUN: this machine lacks ${report.notRun}` : 'held');
    return { drill, seconds: seconds(), report };
  } catch (error) {
    const failure = (error as Error).message;
    say(`BROKEN: ${failure}`);
    return { drill, seconds: seconds(), failure };
  }
}
