import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { markdown, partsMarkdown, withFigures, withParts } from './markdown.ts';
import { merged, type Outcome, type Results } from './outcome.ts';
import { picture } from './picture.ts';

const DOCS = resolve(import.meta.dirname, '../docs');
const [JSON_FILE, SVG_FILE, TEXT_FILE] = ['json', 'svg', 'md'].map((end) => `${DOCS}/performance.${end}`) as [
  string,
  string,
  string,
];

/** Writes docs/performance.json and what is made of it: the picture, and the tables in docs/performance.md. */
export function save(results: Results, order: readonly string[]): void {
  const older = existsSync(JSON_FILE) ? (JSON.parse(readFileSync(JSON_FILE, 'utf8')) as Results) : undefined;
  const all = merged(older, results, order);
  writeFileSync(JSON_FILE, `${JSON.stringify(all, rounded, 2)}\n`);
  writeFileSync(SVG_FILE, picture(all.outcomes));
  writeFileSync(TEXT_FILE, withFigures(readFileSync(TEXT_FILE, 'utf8'), markdown(all)));
}

/** Writes where the CPU time goes to docs/performance.md. The figures stay: under a profiler they would be others. */
export function saveParts(outcomes: readonly Outcome[]): void {
  writeFileSync(TEXT_FILE, withParts(readFileSync(TEXT_FILE, 'utf8'), partsMarkdown(outcomes)));
}

function rounded(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}
