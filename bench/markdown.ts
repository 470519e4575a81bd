import type { Results } from './outcome.ts';
import { FIGURES_HEAD, figureRows, notesOf, SIDES_HEAD, sideRows } from './table.ts';

/** The results as docs/performance.md shows them: the machine, the figures, and what was measured under load. */
export function markdown({ machine, outcomes }: Results): string {
  const { cpu, cores, memoryGb, os, node, postgres, settings } = machine;
  const dates = [...new Set(outcomes.map(({ at }) => at.slice(0, 10)))].sort().join(', ');
  const short = outcomes.filter((outcome) => outcome.short).map(({ name }) => name);
  const told = Object.entries(settings).map(([name, value]) => `${name} ${value}`);
  return [
    `${cores} cores of ${cpu}, ${memoryGb} GB, ${os}; Node ${node.slice(1)}, PostgreSQL ${postgres} (${told.join(', ')}).`,
    `Load generator, service and PostgreSQL share the machine. Measured on ${dates || 'no day yet'}.`,
    ...(short.length ? [`With \`--short\`, too short to be quoted: ${short.join(', ')}.`] : []),
    '',
    rows(FIGURES_HEAD, figureRows(outcomes)),
    '',
    ...outcomes.filter(notesOf).map((outcome) => `- \`${outcome.name}\`: ${notesOf(outcome)}`),
    '',
    'Under load, medians over the rounds:',
    '',
    rows(SIDES_HEAD, sideRows(outcomes)),
  ].join('\n');
}

function rows(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...lines.map(line)].join('\n');
}

const BEGIN = '<!-- figures: written by npm run bench -- --save -->';
const END = '<!-- end of figures -->';

/** The document with `figures` between its two marks. Throws an Error when it lacks them. */
export function withFigures(document: string, figures: string): string {
  const [from, to] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`the document lacks ${BEGIN} and ${END}`);
  return `${document.slice(0, from)}${BEGIN}\n${figures}\n${document.slice(to)}`;
}
