import type { ServerHttp2Session } from 'node:http2';
import { networkOf } from '../network.ts';
import { bareAddress } from './client-address.ts';

/** Tells whether an address is that of a trusted proxy. */
export type IsProxy = (address: string) => boolean;

/**
 * Who counts as one client at an address: an IPv4 address itself, of IPv6 the first 64 bits. Undefined for a trusted proxy,
 * which stands for many.
 */
export function clientAt(remoteAddress: string | undefined, isProxy: IsProxy): string | undefined {
  const address = bareAddress(remoteAddress ?? '') ?? '';
  return isProxy(address) ? undefined : networkOf(address);
}

/** An HTTP/2 connection, and its client; undefined for a trusted proxy. */
export interface Visitor {
  readonly session: ServerHttp2Session;
  readonly client: string | undefined;
}

/** Who a session's client is, asked while it is open: closed it doesn't know its address any more. */
export function visitors(isProxy: IsProxy): (session: ServerHttp2Session) => Visitor {
  const known = new WeakMap<ServerHttp2Session, Visitor>();
  return (session) => {
    const visitor = known.get(session) ?? { session, client: clientAt(session.socket.remoteAddress, isProxy) };
    known.set(session, visitor);
    return visitor;
  };
}
