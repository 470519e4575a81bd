import type { Postgres } from './postgres.ts';

/** What a drill is told and given. */
export interface Stage {
  /** Prints what is being done, with the seconds since the drill began. */
  say(line: string): void;
  /** Decides everything that is random; printed, and given again with `--seed`. */
  readonly seed: number;
  /** Seconds that a drill lasts which could go on for ever. */
  readonly seconds: number;
  /** Bookings that are there before a drill that can begin with many; none when absent. */
  readonly bookings?: number | undefined;
  /** The sources that instances are started from: the repository's, or a copy that was broken on purpose. */
  readonly root: string;
  /** Shared by all drills of a run; one that hurts it leaves it running. */
  readonly postgres: Postgres;
}

/** What a drill came to. It throws where a promise was broken; a figure is only told. */
export interface Report {
  /** Changes that a caller was told of. */
  readonly acknowledged: number;
  /** Of those, how many are gone; always 0 in a drill that passes. */
  readonly lost: number;
  /** Requests that took effect twice; always 0 in a drill that passes. */
  readonly doubled: number;
  /** Milliseconds from the end of the fault to the first call that is served again. */
  readonly recoveryMs?: number;
  /** What this machine lacks to run it, such as a program; then nothing else here counts, and nothing was shown. */
  readonly notRun?: string;
  /** What else is worth a place in the table. */
  readonly notes?: readonly string[];
}

/** The report of a drill that can't be run on this machine. */
export function notRun(lacking: string): Report {
  return { acknowledged: 0, lost: 0, doubled: 0, notRun: lacking };
}

/** A change of the sources under which the drill must fail. */
export interface Break {
  /** Path from the repository's root. */
  readonly file: string;
  /** Text that occurs once in it, and what takes its place. */
  readonly from: string;
  readonly to: string;
  /** What is then broken. */
  readonly means: string;
}

/** One injury, and the promises that must survive it. */
export interface Drill {
  /** In lower case with hyphens, as `npm run faults -- <name>` has it. */
  readonly name: string;
  /** What is done, in one line. */
  readonly story: string;
  /** Each shows that the drill can fail. */
  readonly breaks: readonly Break[];
  run(stage: Stage): Promise<Report>;
}
