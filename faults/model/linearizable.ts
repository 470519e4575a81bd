import { components } from './components.ts';
import type { Call } from './history.ts';
import { sayOfOperation } from './say.ts';
import { perform } from './specification.ts';
import type { Answer, World } from './world.ts';

/** States that the search may come to for one part of a history; more than a crowd's calls ever need. */
const STATES_MAX = 1_000_000;

/**
 * Whether some order of the calls, in which none comes before one that had ended when it began, makes the specification give
 * every answer that was given. Answers undefined when there is one, else a text for people: the longest order that can be
 * explained, and why no call can come next. `begin` is the world before the first call.
 *
 * The search is Wing and Gong's, with Lowe's memory of the states that led nowhere.
 */
export function whyNotLinearizable(history: readonly Call[], begin: World): string | undefined {
  for (const part of components(history, begin)) {
    const search = new Search(part);
    if (!search.from(begin, 0n)) return search.whyNot(begin);
  }
  return undefined;
}

class Search {
  private readonly calls: readonly Call[];
  private readonly answered: bigint;
  private readonly order: Call[] = [];
  private longest: readonly Call[] = [];
  private readonly ledNowhere = new Set<string>();

  constructor(calls: readonly Call[]) {
    this.calls = calls;
    this.answered = calls.reduce((all, { answer }, i) => (answer ? all | (1n << BigInt(i)) : all), 0n);
  }

  /** Whether the calls that aren't `done` can be put in an order from here. */
  from(world: World, done: bigint): boolean {
    if ((done & this.answered) === this.answered) return true;
    const state = `${done} ${fingerprint(world)}`;
    if (this.ledNowhere.has(state)) return false;
    if (this.ledNowhere.size > STATES_MAX) throw new Error('the history is too large to be searched');
    if (this.order.length > this.longest.length) this.longest = [...this.order];
    for (const [i, call] of this.next(done)) {
      const { world: after, answer } = perform(world, call.operation);
      if (call.answer ? !same(answer, call.answer) : after === world) continue;
      this.order.push(call);
      if (this.from(after, done | (1n << BigInt(i)))) return true;
      this.order.pop();
    }
    this.ledNowhere.add(state);
    return false;
  }

  /** The calls that may come next: those that began before any of the others had ended. */
  private next(done: bigint): (readonly [number, Call])[] {
    const left = [...this.calls.entries()].filter(([i]) => !(done & (1n << BigInt(i))));
    const firstEnd = Math.min(...left.map(([, { until }]) => until));
    return left.filter(([, { from }]) => from <= firstEnd);
  }

  whyNot(begin: World): string {
    let world = begin;
    for (const { operation } of this.longest) world = perform(world, operation).world;
    const done = this.longest.reduce((all, call) => all | (1n << BigInt(this.calls.indexOf(call))), 0n);
    const stuck = this.next(done).filter(([, { answer }]) => answer);
    return [
      'No order of these calls explains what was answered. The longest that can be explained:',
      ...this.longest.map((call, i) => `${String(i + 1).padStart(3)}. ${lineOf(call)}`),
      'Then none of these can come next:',
      ...stuck.map(
        ([, call]) => `   - ${lineOf(call)}\n       but would be told: ${told(perform(world, call.operation).answer)}`,
      ),
      'All calls by their beginning:',
      ...this.calls.toSorted((a, b) => a.from - b.from).map((call) => `     ${lineOf(call)}`),
    ].join('\n');
  }
}

/** What others offered may be gone, so it isn't compared. */
function same(a: Answer, b: Answer): boolean {
  return a.says === b.says && a.replayed === b.replayed;
}

/** The same for equal worlds, however they came about. */
function fingerprint({ slots, bookings, answers }: World): string {
  const kept = Object.entries(answers).map(([key, { asks, says }]) => [key, asks, says]);
  return JSON.stringify(
    [Object.entries(slots), Object.entries(bookings), kept].map((part) =>
      part.map((entry) => JSON.stringify(entry)).sort(),
    ),
  );
}

function lineOf({ operation, from, until, answer }: Call): string {
  const when = `${from.toFixed(1)}-${until === Infinity ? '?' : until.toFixed(1)} ms`;
  return `${sayOfOperation(operation)} [${when}]: ${answer ? told(answer) : 'no answer'}`;
}

function told({ says, replayed }: Answer): string {
  return replayed ? `${says} (replayed)` : says;
}
