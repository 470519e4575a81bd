import type { Side } from './side.ts';
import type { Stage } from './stage.ts';

/** What a figure should be, in its own unit. */
export type Aim = { readonly atLeast: number } | { readonly atMost: number };

/** A number that a comparison came to; without an aim it is only told. */
export interface Figure {
  readonly what: string;
  readonly value: number;
  /** Absent for a ratio. */
  readonly unit?: 'ms' | 's' | 'MB' | 'calls/s';
  readonly aim?: Aim;
}

/** What a comparison came to. */
export interface Report {
  readonly figures: readonly Figure[];
  /** What was measured under load, in order: ours first, then what it is held against. */
  readonly sides?: readonly Side[];
  /** What one must know to read the figures. */
  readonly notes?: readonly string[];
  /** What this machine or this run lacks for it; then there are no figures. */
  readonly notRun?: string;
}

/** One claim about speed or size, and how it is measured. */
export interface Comparison {
  /** In lower case with hyphens, as `npm run bench -- <name>` has it. */
  readonly name: string;
  readonly what: string;
  readonly against: string;
  /** The aims in words. */
  readonly aim: string;
  /** Throws an Error when a call wasn't answered as it should be: then no figure is worth anything. */
  run(stage: Stage): Promise<Report>;
}

/** The report of a comparison that can't be made. */
export function notRun(lacking: string): Report {
  return { figures: [], notRun: lacking };
}

/** Whether the figure is what it should be; undefined without an aim. */
export function isMet({ value, aim }: Figure): boolean | undefined {
  if (!aim) return undefined;
  return 'atLeast' in aim ? value >= aim.atLeast : value <= aim.atMost;
}
