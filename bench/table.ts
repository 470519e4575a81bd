import { aligned } from '../faults/table.ts';
import { type Aim, type Figure, isMet } from './comparison.ts';
import type { Outcome } from './outcome.ts';

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
