import { parseArgs } from 'node:util';
import type { Comparison } from './comparison.ts';
import { comparisons } from './comparisons/index.ts';
import { describeMachine, type Machine } from './machine.ts';
import type { Outcome } from './outcome.ts';
import { save, saveParts } from './save.ts';
import { type OpenStage, openStage } from './stage.ts';
import { figuresTable, partsTables, sidesTable } from './table.ts';

// npm run bench: all comparisons, or those named. --list names them; --short makes fewer and shorter rounds;
// --save writes docs/performance.json, the picture and the table; --profile tells where the servers' CPU time goes instead (with
// --save in docs/performance.md), for comparisons that have the same process on trial all the time. DATABASE_URL names another server than the one brought along.

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean' },
    short: { type: 'boolean' },
    save: { type: 'boolean' },
    profile: { type: 'boolean' },
  },
});

const chosen = choose(positionals);
if (values.list)
  for (const { name, what, against, aim } of comparisons)
    process.stdout.write(`${name.padEnd(20)} ${what}, against ${against} (${aim})\n`);
else process.exitCode = (await perform(chosen)) ? 0 : 1;

function choose(names: readonly string[]): readonly Comparison[] {
  const unknown = names.filter((name) => !comparisons.some((comparison) => comparison.name === name));
  if (unknown.length === 0) return names.length ? comparisons.filter(({ name }) => names.includes(name)) : comparisons;
  process.stderr.write(`There is no comparison ${unknown.join(', ')}. npm run bench -- --list names them.\n`);
  process.exit(2);
}

/** False when one failed; an aim that isn't met is no failure. */
async function perform(chosen: readonly Comparison[]): Promise<boolean> {
  const startedAt = performance.now();
  const say = (line: string) =>
    process.stdout.write(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(7)} s  ${line}\n`);
  const open = await openStage({
    short: values.short ?? false,
    profile: values.profile ?? false,
    databaseUrl: process.env.DATABASE_URL,
    say,
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void open.close().finally(() => process.exit(130)));
  const outcomes: Outcome[] = [];
  let machine: Machine;
  try {
    machine = await describeMachine(open.adminUrl);
    for (const comparison of chosen) outcomes.push(await outcomeOf(comparison, open));
  } finally {
    await open.close();
  }
  process.stdout.write(`\n${figuresTable(outcomes)}\n\n${sidesTable(outcomes)}\n`);
  if (values.profile) {
    process.stdout.write(`\n${partsTables(outcomes)}\n`);
    if (values.save) saveParts(outcomes);
  } else if (values.save)
    save(
      { machine, outcomes },
      comparisons.map(({ name }) => name),
    );
  return outcomes.every(({ failure }) => failure === undefined);
}

async function outcomeOf({ run, ...comparison }: Comparison, { stage, clear }: OpenStage): Promise<Outcome> {
  const startedAt = performance.now();
  process.stdout.write(`\n${comparison.name}: ${comparison.what}, against ${comparison.against}\n`);
  const outcome = async (): Promise<Pick<Outcome, 'report' | 'failure'>> => {
    try {
      return { report: await run(stage) };
    } catch (error) {
      return { failure: (error as Error).message };
    } finally {
      await clear();
    }
  };
  const ended = await outcome();
  stage.say(ended.failure === undefined ? 'done' : `FAILED: ${ended.failure}`);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  return { ...comparison, at: new Date().toISOString(), short: stage.short, seconds, ...ended };
}
