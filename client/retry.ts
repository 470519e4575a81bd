import { setTimeout as sleep } from 'node:timers/promises';
import { type DescMethod, isFieldSet, type Message } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel as Level } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { type ReasonName, RpcError } from './rpc-error.ts';

/** Refusals after which, as the contract promises, nothing was changed. */
const NOTHING_CHANGED: readonly ReasonName[] = ['CONTENTION', 'OVERLOADED', 'DRAINING', 'DATABASE_DOWN'];

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5_000;

/** How long a call may be tried, and whether it may have happened before without being done twice. */
export interface Trying {
  readonly attempts: number;
  /** Milliseconds since 1970. */
  readonly endsAt: number;
  readonly repeatable: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Tries until there is an answer that another try wouldn't better; throws the last error when tries or time run out. */
export async function retrying<T>(attempt: () => Promise<T>, trying: Trying): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries >= trying.attempts || !(error instanceof RpcError) || !mayRetry(error, trying)) throw error;
      const delayMs = retryDelayMs(error, tries);
      if (Date.now() + delayMs >= trying.endsAt) throw error;
      await sleep(delayMs, undefined, { signal: trying.signal }).catch(() => {});
    }
  }
}

/** Whether doing the same again can't do it twice: its request_id says that it is the same, or it does nothing. */
export function isRepeatable(method: DescMethod, request: Message): boolean {
  if (method.idempotency !== Level.IDEMPOTENCY_UNKNOWN) return true;
  const field = method.input.fields.find(({ name }) => name === 'request_id');
  return field !== undefined && isFieldSet(request, field);
}

/** Whether another try may fare better, and can't do anything twice. */
export function mayRetry({ code, reason }: RpcError, { repeatable }: Pick<Trying, 'repeatable'>): boolean {
  if (code !== status.ABORTED && code !== status.UNAVAILABLE) return false;
  return repeatable || NOTHING_CHANGED.some((harmless) => harmless === reason);
}

/** Milliseconds to wait after the try number `tries`, from 1: what the server asked for and a growing, random part. */
export function retryDelayMs({ retryAfterMs = 0 }: Pick<RpcError, 'retryAfterMs'>, tries: number): number {
  return retryAfterMs + Math.random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (tries - 1));
}
