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
    // Megabytes; beyond them no new stream is taken. grpc-js would set no limit.
    maxSessionMemory: 16,
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    handshakeTimeout: limits.silentMs,
    settings: { maxConcurrentStreams: limits.streams, maxHeaderListSize: limits.headerBytes },
  };
}
