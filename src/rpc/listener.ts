import type { Server, Socket } from 'node:net';
import type { DescService } from '@bufbuild/protobuf';
import type { Interceptor, ServiceImpl } from '@connectrpc/connect';
import type { Limits } from './limits.ts';
import type { CallLog } from './log.ts';

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
  /**
   * Stops accepting, ends streams as UNAVAILABLE DRAINING, lets unary calls finish for `graceMs` at most, then cuts what
   * is left. Resolves when every connection is closed.
   */
  close(graceMs: number): Promise<void>;
}

/** `impl` as the answer to `service`, checked against its methods. */
export function route<S extends DescService>(service: S, impl: Partial<ServiceImpl<S>>): Route {
  return { service, impl: impl as Route['impl'] };
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

/** How a listener ends. */
export type Closer = (graceMs: number) => Promise<void>;

/**
 * Remembers the connections of `server`. The function it returns stops it, and resolves when the last one is closed: those
 * on which nobody has said a word are cut at once, those left after the grace then.
 */
export function closerOf(server: Server): Closer {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const cut = (which: (socket: Socket) => boolean) => {
    for (const socket of sockets) if (which(socket)) socket.destroy();
  };
  return (graceMs) =>
    new Promise((resolve) => {
      const timer = setTimeout(() => cut(() => true), graceMs);
      // An error means that it never listened.
      server.close(() => {
        clearTimeout(timer);
        resolve();
      });
      cut(({ bytesRead }) => bytesRead === 0);
    });
}
