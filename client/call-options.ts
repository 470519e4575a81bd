import type { Metadata } from '@grpc/grpc-js';

/** What one call may ask for beside its request. */
export interface CallOptions {
  /**
   * Milliseconds for the whole call, its repetitions included. Unary calls: 5,000 when absent, and the server gives 30,000
   * at most. Streams: no end when absent.
   */
  readonly deadlineMs?: number;
  /** Cancels the call, here and in the server. */
  readonly signal?: AbortSignal;
  /** Request headers, such as `x-request-id` and `traceparent`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /**
   * `attempts`: how many tries a unary call gets in all; 1 when absent. Only ABORTED and UNAVAILABLE are tried again, and
   * only where that can't do things twice: with the `request_id` that the request holds, in methods without side
   * effects, and after refusals that promise that nothing was changed.
   */
  readonly retry?: { readonly attempts: number };
  /** Gets the response headers, such as `idempotency-replayed`; of each try that has any. */
  readonly onHeader?: (header: Metadata) => void;
  /** Gets the response trailers, of each try; those of a refusal are also in RpcError. */
  readonly onTrailer?: (trailer: Metadata) => void;
}
