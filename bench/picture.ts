import { type Figure, isMet } from './comparison.ts';
import type { Outcome } from './outcome.ts';
import { aimText, valueText } from './table.ts';

const WIDTH = 1000;
const ROW = 26;
const TOP = 44;
const WHAT = 150;
const LABELS = 480;
const BARS = 320;
/** How many times its aim a bar may show; longer ones are cut, and say so by their number. */
const MOST = 2;

const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .faint { fill: #59636e } .line { stroke: #59636e; stroke-dasharray: 3 3 }
  .met { fill: #1a7f37 } .missed { fill: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .faint { fill: #9198a1 } .line { stroke: #9198a1 }
    .met { fill: #3fb950 } .missed { fill: #f0883e }
  }`;

/**
 * An SVG with a bar for each figure that has an aim, as long as the figure is in parts of its aim. Reads well on light and on
 * dark ground; what colour says stands there in words too: of some figures more is better, of others less.
 */
export function picture(outcomes: readonly Outcome[]): string {
  const rows = outcomes.flatMap(({ name, report }) =>
    (report?.figures ?? []).filter(({ aim }) => aim).map((figure) => ({ name, figure })),
  );
  const height = TOP + rows.length * ROW + 16;
  const aimAt = LABELS + BARS / MOST;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Figures against their aims">
<style>${STYLE}
</style>
<text class="faint" x="${aimAt}" y="18" text-anchor="middle">the aim</text>
<line class="line" x1="${aimAt}" y1="26" x2="${aimAt}" y2="${height - 10}"/>
${rows.map(({ name, figure }, i) => bar(name, figure, TOP + i * ROW)).join('\n')}
</svg>
`;
}

function bar(name: string, figure: Figure, y: number): string {
  const { what, value, aim } = figure;
  const wanted = !aim ? 1 : 'atLeast' in aim ? aim.atLeast : aim.atMost;
  const width = Math.max(2, Math.min(MOST, Math.max(0, value) / wanted) * (BARS / MOST));
  const met = isMet(figure);
  const said = `${valueText(figure)} (${aimText(aim)}: ${met ? 'met' : 'not met'})`;
  return [
    `<text x="8" y="${y + 13}">${escaped(name)}</text>`,
    `<text x="${WHAT}" y="${y + 13}" class="faint">${escaped(what)}</text>`,
    `<rect class="${met ? 'met' : 'missed'}" x="${LABELS}" y="${y + 2}" width="${width.toFixed(1)}" height="14" rx="2"/>`,
    `<text x="${LABELS + BARS + 8}" y="${y + 13}" class="faint">${escaped(said)}</text>`,
  ].join('');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
