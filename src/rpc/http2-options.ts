import type { SecureServerOptions } from 'node:http2';
import type { Limits } from './limits.ts';

/**
 * What one HTTP/2 connection may cost, as Node's servers take it. Resets are bounded here for proxies; clients have a
 * smaller budget of their own (reset-budget.ts), because all that nghttp2 can do about one is to drop its connection.
 */
export function http2Options(limits: Limits): SecureServerOptions {
  return {
    streamResetBurst: limits.proxyResetBurst,
    streamResetRate: limits.proxyResetRate,
    maxSessionMemory: sessionMegabytes(limits),
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    handshakeTimeout: limits.silentMs,
    settings: { maxConcurrentStreams: limits.streams, maxHeaderListSize: limits.headerBytes },
  };
}

/**
 * Room for an answer of the largest size on every stream of a connection. Beyond it Node takes no new stream, and on a
 * proxy's connection that would be other people's; what really waits unread is bounded by unread-budget.ts.
 */
export function sessionMegabytes({ streams, sendBytes, headerBytes }: Limits): number {
  return Math.ceil((1.2 * streams * (sendBytes + headerBytes)) / 1_000_000);
}
