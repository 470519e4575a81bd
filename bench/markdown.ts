import type { Outcome, Results } from './outcome.ts';
import { FIGURES_HEAD, figureRows, notesOf, partRows, SIDES_HEAD, sideRows } from './table.ts';

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

/** Where the CPU time goes, a table a comparison that was profiled. */
export function partsMarkdown(outcomes: readonly Outcome[]): string {
  return outcomes
    .flatMap((outcome) => {
      const [head, ...lines] = partRows(outcome) ?? [];
      return head ? [`\`${outcome.name}\`:`, '', rows(head, lines), ''] : [];
    })
    .join('\n')
    .trimEnd();
}

function rows(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...lines.map(line)].join('\n');
}

type Marks = readonly [begin: string, end: string];
const FIGURES: Marks = ['<!-- figures: written by npm run bench -- --save -->', '<!-- end of figures -->'];
const PARTS: Marks = ['<!-- parts: written by npm run bench -- --profile --save -->', '<!-- end of parts -->'];

/** The document with `figures` between its two marks. Throws an Error when it lacks them. */
export function withFigures(document: string, figures: string): string {
  return between(FIGURES, document, figures);
}

/** As `withFigures`, for where the CPU time goes. */
export function withParts(document: string, parts: string): string {
  return between(PARTS, document, parts);
}

function between([begin, end]: Marks, document: string, text: string): string {
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the document lacks ${begin} and ${end}`);
  return `${document.slice(0, from)}${begin}\n${text}\n${document.slice(to)}`;
}
