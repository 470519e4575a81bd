import http from 'node:http';
import http2, { type Http2SecureServer } from 'node:http2';
import { type Server, Socket } from 'node:net';
import { Fault } from '../fault.ts';
import { cors } from './cors.ts';
import { calls } from './http-calls.ts';
import {
  askToLeave,
  type HttpRequest,
  type HttpResponse,
  hangUp,
  sendJson,
  setSecurityHeaders,
} from './http-headers.ts';
import { type PageOptions, pages } from './http-pages.ts';
import { LIMITS, type Limits } from './limits.ts';
import { bind, closerOf, type Listener, type ListenerOptions, type TlsPair } from './listener.ts';
import { type StreamGuard, streamGuard } from './stream-guard.ts';

/** What the HTTP listener needs beside what both need. */
export interface HttpListenerOptions extends ListenerOptions, PageOptions {
  /** Origins whose scripts may call; empty: none. `*`: all. */
  readonly corsOrigins: readonly string[];
}

type Answer = (req: HttpRequest, res: HttpResponse) => void;

/** Connect and gRPC-Web over HTTP/1.1; with a certificate also over HTTP/2, and gRPC. Beside them JWKS and the probes. */
export function httpListener(options: HttpListenerOptions): Listener {
  const limits = { ...LIMITS, ...options.limits };
  const draining = new AbortController();
  const answer = answerTo(options, limits, draining.signal);
  const server = options.tls
    ? secureServer(options.tls, limits, streamGuard(options.routes, limits))
    : http.createServer(http1Options(limits));
  server.on('request', (req: HttpRequest, res: HttpResponse) => {
    // An answer that began before the drain has promised to keep its connection alive.
    res.once('close', () => draining.signal.aborted && hangUp(req));
    answer(req, res);
  });
  closeStill(server, limits);
  const close = closerOf(server);
  return {
    listen: (host, port) => bind(server, host, port, options.log),
    close: (graceMs) => {
      draining.abort(new Fault('DRAINING', 'this instance is stopping'));
      return close(graceMs);
    },
  };
}

function answerTo(options: HttpListenerOptions, limits: Limits, draining: AbortSignal): Answer {
  const overTls = options.tls !== undefined;
  const [call, page, allowOrigin] = [
    calls({ ...options, draining }, limits),
    pages(options),
    cors(options.corsOrigins),
  ];
  return (req, res) => {
    try {
      setSecurityHeaders(res, overTls);
      if (draining.aborted) askToLeave(req, res);
      if (allowOrigin(req, res)) return;
      if (!call(req, res)) page(req, res);
    } catch {
      // connect throws on addresses and hosts that are none.
      if (!res.headersSent) sendJson(req, res, 400, { code: 'invalid_argument', message: 'the request is malformed' });
    }
  };
}

function http1Options(limits: Limits): http.ServerOptions {
  return {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: Math.min(10_000, limits.bodyMs),
    requestTimeout: limits.bodyMs,
    connectionsCheckingInterval: Math.min(2_000, limits.bodyMs),
    keepAliveTimeout: limits.idleMs,
    // Two authorization headers must not look like one.
    joinDuplicateHeaders: true,
  };
}

function secureServer({ cert, key }: TlsPair, limits: Limits, guard: StreamGuard): Http2SecureServer {
  const server = http2.createSecureServer({
    ...http1Options(limits),
    cert,
    key,
    allowHTTP1: true,
    handshakeTimeout: 10_000,
    settings: { maxConcurrentStreams: limits.streams, maxHeaderListSize: limits.headerBytes },
  });
  server.on('stream', (stream, headers) => guard(stream, headers[':path']));
  return server;
}

/** Connections on which nothing moves: HTTP/1 is cut, HTTP/2 asked to go when its streams are done. */
function closeStill(server: http.Server | Http2SecureServer, { stillMs }: Limits): void {
  server.setTimeout(stillMs);
  (server as Server).on('timeout', (still: Socket | http2.ServerHttp2Session) => {
    if (still instanceof Socket) still.destroy();
    else still.close();
  });
}
