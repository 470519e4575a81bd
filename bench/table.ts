import { aligned } from '../faults/table.ts';
import { type Aim, type Figure, isMet } from './comparison.ts';
import type { Outcome } from './outcome.ts';
import type { Parts } from './profile-parts.ts';

/** What every figure is and should be, a line each. */
export function figuresTable(outcomes: readonly Outcome[]): string {
  const notes = new Map(outcomes.map((outcome) => [outcome.name, notesOf(outcome)]));
  const lines = figureRows(outcomes).map((cells) => [...cells, notes.get(cells[0] as string) ?? '']);
  return aligned([[...FIGURES_HEAD, 'notes'], ...lines]);
}

/** What was measured under load, a line a side. */
export function sidesTable(outcomes: readonly Outcome[]): string {
  return aligned([SIDES_HEAD, ...sideRows(outcomes)]);
}

export const FIGURES_HEAD = ['comparison', 'figure', 'value', 'aim', 'met'];

/** Cells under FIGURES_HEAD; one row for a comparison that failed or wasn't run. */
export function figureRows(outcomes: readonly Outcome[]): string[][] {
  return outcomes.flatMap(({ name, aim, report, failure }) => {
    if (!report || report.notRun) return [[name, '', '', aim, failure === undefined ? 'NOT RUN' : 'FAILED']];
    return report.figures.map((figure, i) => [
      i ? '' : name,
      figure.what,
      valueText(figure),
      aimText(figure.aim),
      { true: 'yes', false: 'NO', undefined: '' }[`${isMet(figure)}`],
    ]);
  });
}

/** What must be known to read an outcome's figures, or why it has none; may be empty. */
export function notesOf({ report, failure }: Outcome): string {
  if (failure !== undefined) return failure.split('\n', 1).join();
  return report?.notRun ? `lacking ${report.notRun}` : (report?.notes ?? []).join('; ');
}

export const SIDES_HEAD = [
  'comparison',
  'side',
  'in flight',
  'calls',
  'calls/s',
  'p50 ms',
  'p95 ms',
  'p99 ms',
  'CPU ms / 1,000 calls: service',
  'PostgreSQL',
  'generator',
];

/** Cells under SIDES_HEAD. */
export function sideRows(outcomes: readonly Outcome[]): string[][] {
  return outcomes.flatMap(({ name, report }) =>
    (report?.sides ?? []).map((side, i) => [
      i ? '' : name,
      side.name,
      `${side.inFlight}`,
      whole(side.calls),
      whole(side.perSecond),
      ...[side.p50, side.p95, side.p99].map((ms) => ms.toFixed(2)),
      ...[side.cpu.service, side.cpu.postgres, side.cpu.generator].map((ms) => (ms === undefined ? '' : whole(ms))),
    ]),
  );
}

/**
 * Where the CPU time of the sides of an outcome goes that were profiled: a row a part, microseconds a call, the first side's most
 * first. Undefined when none was.
 */
export function partRows({ report }: Outcome): string[][] | undefined {
  const sides = (report?.sides ?? []).flatMap(({ name, parts }) => (parts ? [{ name, parts }] : []));
  const [first] = sides;
  if (!first) return undefined;
  const names = [...new Set(sides.flatMap(({ parts }) => Object.keys(parts)))];
  names.sort((a, b) => (first.parts[b] ?? 0) - (first.parts[a] ?? 0));
  const sum = (parts: Parts) => Object.values(parts).reduce((total, part) => total + part, 0);
  return [
    ['microseconds of CPU a call', ...sides.map(({ name }) => name)],
    ...names.map((name) => [name, ...sides.map(({ parts }) => microseconds(parts[name]))]),
    ['all', ...sides.map(({ parts }) => microseconds(sum(parts)))],
  ];
}

function microseconds(value = 0): string {
  return value < 0.05 ? '' : value.toFixed(1);
}

/** Tables of `partRows`, each under the comparison's name. */
export function partsTables(outcomes: readonly Outcome[]): string {
  return outcomes
    .flatMap((outcome) => {
      const rows = partRows(outcome);
      return rows ? [`${outcome.name}\n${aligned(rows)}`] : [];
    })
    .join('\n\n');
}

/** With its unit; as many digits as mean something. */
export function valueText({ value, unit }: Figure): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  const number = value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return unit ? `${number} ${unit}` : number;
}

/** As `>= 0.5`; empty without an aim. */
export function aimText(aim: Aim | undefined): string {
  if (!aim) return '';
  return 'atLeast' in aim ? `>= ${whole(aim.atLeast)}` : `<= ${whole(aim.atMost)}`;
}

/** Without what comes after the point when it is large. */
function whole(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: value >= 10 ? 0 : 2 });
}
