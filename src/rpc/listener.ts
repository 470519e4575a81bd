import { Server, type Socket } from 'node:net';
import type { DescService } from '@bufbuild/protobuf';
import type { Interceptor, ServiceImpl } from '@connectrpc/connect';
import { isTrusted } from './client-address.ts';
import type { DoorOptions } from './connection-limit.ts';
import type { Limits } from './limits.ts';
import type { CallLog } from './log.ts';
import { type Stray, turnedAway } from './turned-away.ts';

/** A service and what answers it. Methods that `impl` lacks are UNIMPLEMENTED. */
export interface Route {
  readonly service: DescService;
  readonly impl: Partial<ServiceImpl<DescService>>;
}

/** A certificate chain and its private key, PEM. */
export interface TlsPair {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** What both listeners need. */
export interface ListenerOptions {
  readonly routes: readonly Route[];
  /** Outermost first; server.ts has the chain. */
  readonly interceptors: readonly Interceptor[];
  readonly log: CallLog;
  /** Hears of what is turned away before it is a call. */
  readonly countStray?: ((stray: Stray) => void) | undefined;
  /** Absent: plain text. */
  readonly tls?: TlsPair;
  /** Addresses or CIDR ranges of proxies whose x-forwarded-for counts. */
  readonly trustedProxies?: readonly string[];
  /** For tests; LIMITS otherwise. */
  readonly limits?: Partial<Limits>;
}

/** Something that answers calls on one port. */
export interface Listener {
  /** The port it got. Rejects with the error of the socket, such as EADDRINUSE. */
  listen(host: string, port: number): Promise<number>;
  /** Asks HTTP/1 clients, by an answer, to leave the connections that they have; all is served. For the time before a close. */
  retire(): void;
  /**
   * Stops accepting, ends streams as UNAVAILABLE DRAINING, lets unary calls finish for `graceMs` at most, then cuts what
   * is left. Calls on connections that are still open are served for LINGER_MS, and refused as DRAINING after that; over
   * HTTP/2 those that the client sends after GOAWAY are refused streams. Resolves when every connection is closed.
   */
  close(graceMs: number): Promise<void>;
}

/** `impl` as the answer to `service`, checked against its methods. */
export function route<S extends DescService>(service: S, impl: Partial<ServiceImpl<S>>): Route {
  return { service, impl: impl as Route['impl'] };
}

/** Who may come in, and how many, as the options of a listener have it. */
export function doorOf({ trustedProxies = [], log, countStray }: ListenerOptions, limits: Limits): DoorOptions {
  return { limits, isProxy: isTrusted(trustedProxies), turnAway: turnedAway(log, undefined, countStray) };
}

/** Starts `server`, and resolves with its port. What fails later, such as an accept without file descriptors, is logged. */
export function bind(server: Server, host: string, port: number, log: CallLog): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      server.on('error', (err) => log.error({ err }, 'a connection could not be accepted'));
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : port);
    });
  });
}

/** Milliseconds that a connection without a call stays open after its listener: a request may be on its way. */
export const LINGER_MS = 500;

/** How a listener ends: `lingered` is called LINGER_MS later, unless all connections are closed by then. */
export type Closer = (graceMs: number, lingered: () => void) => Promise<void>;

/**
 * Remembers the connections of `server`. The function it returns stops it, and resolves when the last one is closed: those
 * on which nobody has said a word, after the handshake of TLS, are cut after LINGER_MS, those left after the grace then.
 */
export function closerOf(server: Server): Closer {
  const sockets = new Set<Socket>();
  const remember = (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  };
  // Of TLS the socket inside too: its bytes are those that come after the handshake.
  server.on('connection', remember).on('secureConnection', remember);
  const cut = (which: (socket: Socket) => boolean) => {
    for (const socket of sockets) if (which(socket)) socket.destroy();
  };
  return (graceMs, lingered) =>
    new Promise((resolve) => {
      const grace = setTimeout(() => cut(() => true), graceMs);
      const linger = setTimeout(() => {
        cut(({ bytesRead }) => bytesRead === 0);
        lingered();
      }, LINGER_MS);
      // Not the close of node:http, which cuts idle connections at once. An error means that it never listened.
      Server.prototype.close.call(server, () => {
        clearTimeout(grace);
        clearTimeout(linger);
        resolve();
      });
    });
}
