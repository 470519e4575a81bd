import type { Comparison, Report } from './comparison.ts';
import type { Machine } from './machine.ts';

/** How one comparison ended. */
export interface Outcome extends Pick<Comparison, 'name' | 'what' | 'against' | 'aim'> {
  /** When, ISO 8601. */
  readonly at: string;
  readonly short: boolean;
  readonly seconds: number;
  /** Absent when it failed. */
  readonly report?: Report;
  readonly failure?: string;
}

/** What docs/performance.json holds. */
export interface Results {
  readonly machine: Machine;
  readonly outcomes: readonly Outcome[];
}

/** The newer results, and of the older ones those that were not made again, when they are of the same machine. */
export function merged(older: Results | undefined, newer: Results, order: readonly string[]): Results {
  const same = older && JSON.stringify(older.machine) === JSON.stringify(newer.machine);
  const kept = same ? older.outcomes.filter(({ name }) => !newer.outcomes.some((one) => one.name === name)) : [];
  const place = ({ name }: Outcome) => order.indexOf(name);
  return { machine: newer.machine, outcomes: [...kept, ...newer.outcomes].sort((a, b) => place(a) - place(b)) };
}
