import type { Ended } from './run.ts';

/** The drills' results as a table for people, one line a drill. */
export function table(ended: readonly Ended[]): string {
  const head = ['drill', 'result', 'acknowledged', 'lost', 'doubled', 'recovered in', 'took', 'notes'];
  return aligned([head, ...ended.map(lineOf)]);
}

function lineOf({ drill, brokenBy, seconds, report, failure }: Ended): string[] {
  const result = report?.notRun ? 'NOT RUN' : failure === undefined ? 'held' : 'BROKEN';
  const notes = [
    brokenBy && `build: ${brokenBy.means}`,
    failure?.split('\n', 1).join().slice(0, 120),
    report?.notRun && `lacking: ${report.notRun}`,
    ...(report?.notes ?? []),
  ];
  const recovered = report?.recoveryMs === undefined ? '' : `${Math.round(report.recoveryMs)} ms`;
  const counted = report?.notRun ? undefined : report;
  const figures = [counted?.acknowledged, counted?.lost, counted?.doubled].map((figure) => `${figure ?? ''}`);
  return [drill.name, result, ...figures, recovered, `${seconds.toFixed(0)} s`, notes.filter(Boolean).join('; ')];
}

/** Lines of cells as columns of equal width. */
export function aligned(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
