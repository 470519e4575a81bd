import type { Answer, Operation } from './world.ts';

/** One call as its caller saw it. */
export interface Call {
  readonly operation: Operation;
  /** Milliseconds, on one clock for all callers. */
  readonly from: number;
  /** When its answer was there; Infinity when none came: then it may take effect at any later time, or never. */
  readonly until: number;
  /** Absent when none came. */
  readonly answer: Answer | undefined;
}

const NO_EFFECT = new Set(['CONTENTION', 'IN_PROGRESS', 'OVERLOADED', 'DATABASE_DOWN', 'DRAINING']);

/** Whether a refusal promises that nothing was changed and nothing kept: such a call explains nothing, and needs no explanation. */
export function hasNoEffect(reason: string): boolean {
  return NO_EFFECT.has(reason);
}

/** Whether a call may have taken effect or not: the contract leaves it open, or the error is none of the contract. */
export function isUnknown(reason: string): boolean {
  return OPEN.has(reason) || !hasReason(reason);
}

const OPEN = new Set(['OUTCOME_UNKNOWN', 'DEADLINE_EXCEEDED', 'DeadlineExceeded']);

/** Whether a call ended as the contract says a call may end, or at its deadline; otherwise the name of a code takes the reason's place. */
export function hasReason(reason: string): boolean {
  return reason === reason.toUpperCase() || reason === 'DeadlineExceeded';
}
