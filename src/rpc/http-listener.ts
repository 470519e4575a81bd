import http from 'node:http';
import http2, { type Http2SecureServer, type ServerHttp2Session } from 'node:http2';
import { type Server, Socket } from 'node:net';
import { connectionAge } from './connection-age.ts';
import { type DoorOptions, limitConnections } from './connection-limit.ts';
import { cors } from './cors.ts';
import { type Ending, ending } from './ending.ts';
import { malformed } from './framework-error.ts';
import { calls } from './http-calls.ts';
import { askToLeave, type HttpRequest, type HttpResponse, hangUp, setSecurityHeaders } from './http-headers.ts';
import { type PageOptions, pages } from './http-pages.ts';
import { sendRefusal } from './http-refusal.ts';
import { http2Options } from './http2-options.ts';
import { leaving } from './leaving.ts';
import { LIMITS, type Limits } from './limits.ts';
import { bind, closerOf, doorOf, type Listener, type ListenerOptions, type TlsPair } from './listener.ts';
import { pipelinesOf } from './pipelines.ts';
import { places } from './places.ts';
import { resetBudget } from './reset-budget.ts';
import { type GuardOptions, type StreamGuard, streamGuard, TOLD_MS } from './stream-guard.ts';
import { unreadBudget } from './unread-budget.ts';
import { refuseUnreadable } from './unreadable.ts';

/** What the HTTP listener needs beside what both need. */
export interface HttpListenerOptions extends ListenerOptions, PageOptions {
  /** Origins whose scripts may call; empty: none. `*`: all. */
  readonly corsOrigins: readonly string[];
}

type Answer = (req: HttpRequest, res: HttpResponse) => void;

/** Connect and gRPC-Web over HTTP/1.1; with a certificate also over HTTP/2, and gRPC. Beside them JWKS and the probes. */
export function httpListener(options: HttpListenerOptions): Listener {
  const limits = { ...LIMITS, ...options.limits };
  const end = ending();
  const door = doorOf(options, limits);
  const shared = {
    ...door,
    watchOutlet: unreadBudget(limits.unreadBytes, door.turnAway),
    takeStream: places({ all: Number.POSITIVE_INFINITY, each: limits.streamsEach }),
  };
  const answer = answerTo({ ...options, ...door }, end);
  const server = options.tls
    ? secureServer(options.tls, limits, guardOf(options.routes, shared))
    : http.createServer(http1Options(limits));
  limitConnections(server, door);
  const pipelines = pipelinesOf(shared);
  server.on(options.tls ? 'secureConnection' : 'connection', pipelines.watch);
  server.on('request', (req: HttpRequest, res: HttpResponse) => {
    if (!pipelines.begin(req, res)) return;
    // An answer that began before has promised to keep its connection alive.
    res.once('close', () => end.late.aborted && hangUp(req));
    answer(req, res);
  });
  (server as http.Server).on('clientError', (error, socket) =>
    refuseUnreadable(error, socket as Socket, pipelines, door),
  );
  closeStill(server, limits);
  const askToGo = sessionsOf(server, end);
  const close = closerOf(server);
  return {
    listen: (host, port) => bind(server, host, port, options.log),
    retire: end.retire,
    close: async (graceMs) => {
      end.close();
      askToGo();
      await close(graceMs, () => {
        end.refuse();
        // Of HTTP/1, which Node's secure server has too, though its types don't say so.
        (server as http.Server).closeIdleConnections();
      });
      // All is closed; this ends the timer with which Node looks for slow requests.
      server.close();
    },
  };
}

function guardOf(routes: HttpListenerOptions['routes'], shared: Omit<GuardOptions, 'resets'>): StreamGuard {
  const guard = streamGuard(routes, { ...shared, resets: resetBudget(shared) });
  const age = connectionAge(shared);
  return (stream, headers) => {
    guard(stream, headers);
    const session = stream.session as ServerHttp2Session | undefined;
    if (session && !session.destroyed) age(session);
  };
}

function answerTo(options: HttpListenerOptions & DoorOptions, end: Ending): Answer {
  const overTls = options.tls !== undefined;
  const leaves = leaving(end);
  const [call, page, allowOrigin] = [calls({ ...options, end, leaves }), pages(options), cors(options.corsOrigins)];
  return (req, res) => {
    try {
      setSecurityHeaders(res, overTls);
      if (leaves(req)) askToLeave(req, res);
      if (allowOrigin(req, res)) return;
      if (!call(req, res)) page(req, res);
    } catch {
      // connect throws on addresses and hosts that are none.
      options.turnAway('malformed request');
      if (!res.headersSent) sendRefusal(req, res, 400, malformed());
    }
  };
}

function http1Options(limits: Limits): http.ServerOptions {
  return {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: Math.min(10_000, limits.bodyMs),
    requestTimeout: limits.bodyMs + TOLD_MS,
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
    ...http2Options(limits),
  });
  server.on('stream', guard);
  return server;
}

/** Remembers the HTTP/2 connections of `server`. The function it returns asks them to go when their streams are done. */
function sessionsOf(server: http.Server | Http2SecureServer, { closing }: Ending): () => void {
  const sessions = new Set<http2.Http2Session>();
  (server as Server).on('session', (session: http2.Http2Session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    if (closing.aborted) session.close();
  });
  return () => {
    for (const session of sessions) session.close();
  };
}

/** Connections on which nothing moves: HTTP/1 is cut, HTTP/2, later, asked to go when its streams are done. */
function closeStill(server: http.Server | Http2SecureServer, { stillMs, idleMs }: Limits): void {
  server.setTimeout(stillMs);
  (server as Server).on('session', (session: http2.ServerHttp2Session) => session.setTimeout(idleMs));
  (server as Server).on('timeout', (still: Socket | http2.ServerHttp2Session) => {
    if (still instanceof Socket) still.destroy();
    else still.close();
  });
}
