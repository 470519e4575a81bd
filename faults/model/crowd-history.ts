import { answerOf, bytesOf, type Ended } from './ask.ts';
import { type Call, hasNoEffect, hasReason, isUnknown } from './history.ts';
import { sayOfOperation } from './say.ts';
import type { Scene } from './scene.ts';
import { keyOf } from './specification.ts';

/** A call that somebody of a crowd has made. */
export interface Made extends Pick<Call, 'operation' | 'from' | 'until'> {
  readonly ended: Ended;
}

/** What else there is to know of a crowd when it is over. */
export interface Over {
  readonly scene: Scene;
  /** What the database held in the end, looked at between two times, and the bookings that somebody had been told of. */
  readonly last: { readonly lines: readonly string[]; readonly told: readonly string[] } & Pick<Call, 'from' | 'until'>;
  /** Whether an instance was killed, which excuses errors of the transport. */
  readonly killed: boolean;
}

/**
 * The calls that an order must explain: those that may have had an effect or were told something, and the last state as reads
 * of it. Throws when a call failed for no reason of the contract, or one request got two answers.
 */
export function historyOf(made: readonly Made[], { scene, last, killed }: Over): Call[] {
  for (const one of made) mustHaveAReason(one, killed);
  mustRepeatBytes(made);
  const calls = made.filter(({ ended }) => !hasNoEffect(ended.reason)).map((one) => recorded(scene, one));
  return [...calls, ...lastReads(last)];
}

function recorded(scene: Scene, { operation, from, until, ended }: Made): Call {
  if (isUnknown(ended.reason)) return { operation, from, until: Number.POSITIVE_INFINITY, answer: undefined };
  return { operation, from, until, answer: answerOf(scene, ended) };
}

/** Each line of the last state as a read by its owner; a booking that somebody was told of and that is gone, as one in vain. */
function lastReads({ lines, told, from, until }: Over['last']): Call[] {
  const gone = told.filter((name) => !lines.some((line) => line.startsWith(`booking ${name} `)));
  const reads = [
    ...gone.map((name) => readOf('booking', name, 'BOOKING_NOT_FOUND')),
    ...lines.map((line) => readOf(line.split(' ')[0] ?? '', line.split(' ')[1] ?? '', `OK ${line}`)),
  ];
  return reads.map((read) => ({ ...read, from, until }));
}

function readOf(what: string, name: string, says: string): Pick<Call, 'operation' | 'answer'> {
  const asks =
    what === 'slot' ? ({ method: 'GetSlot', slot: name } as const) : ({ method: 'GetBooking', booking: name } as const);
  const [caller = ''] = name.split(what === 'slot' ? '@' : ':');
  return { operation: { caller, request: '', asks }, answer: { says, replayed: false } };
}

function mustHaveAReason({ operation, ended: { reason } }: Made, killed: boolean): void {
  if (!killed && !hasReason(reason)) throw new Error(`${sayOfOperation(operation)} ended as ${reason}`);
}

/** All answers to a request are one answer, byte for byte. */
function mustRepeatBytes(made: readonly Made[]): void {
  const first = new Map<string, string>();
  for (const { operation, ended } of made) {
    const { reason } = ended;
    if (!operation.request || isUnknown(reason) || hasNoEffect(reason) || reason === 'REQUEST_ID_REUSED') continue;
    const key = keyOf(operation);
    const bytes = bytesOf(ended);
    const before = first.get(key) ?? bytes;
    if (before !== bytes) throw new Error(`two answers to ${sayOfOperation(operation)}:\n${before}\n${bytes}`);
    first.set(key, bytes);
  }
}
