import type { ServerHttp2Session } from 'node:http2';
import { bareAddress } from './client-address.ts';
import type { DoorOptions } from './connection-limit.ts';

/** Told of every stream of a listener, by its session. */
export type SeeStream = (session: ServerHttp2Session) => void;

/** Milliseconds without a new stream that make a moment quiet: longer than a request is on its way. */
const QUIET_MS = 500;
/** Connections made at once do not go at once: each lives up to a tenth longer. */
const JITTER = 0.1;

/**
 * Asks an HTTP/2 connection to go when it is `ageMs` old, in the next quiet moment, or when it is twice that old: with Node
 * a request that is on its way at that moment is refused, for its client to send anew. What is left is cut after the
 * longest deadline. Trusted proxies keep theirs: they spread calls, and not all of them send a refused one anew.
 */
export function connectionAge({ limits, isProxy }: Pick<DoorOptions, 'limits' | 'isProxy'>): SeeStream {
  const quiet = new WeakMap<ServerHttp2Session, NodeJS.Timeout>();
  const seen = new WeakSet<ServerHttp2Session>();
  const leave = (session: ServerHttp2Session) => {
    session.close();
    const cut = setTimeout(() => session.destroy(), limits.longestDeadlineMs).unref();
    session.once('close', () => clearTimeout(cut));
  };
  const growOld = (session: ServerHttp2Session) => {
    const timers = [setTimeout(() => end(), QUIET_MS).unref(), setTimeout(() => end(), limits.ageMs).unref()] as const;
    const clear = () => timers.forEach(clearTimeout);
    const end = () => {
      clear();
      quiet.delete(session);
      leave(session);
    };
    quiet.set(session, timers[0]);
    session.once('close', clear);
  };
  return (session) => {
    quiet.get(session)?.refresh();
    if (seen.has(session)) return;
    seen.add(session);
    if (isProxy(bareAddress(session.socket.remoteAddress ?? '') ?? '')) return;
    const timer = setTimeout(growOld, limits.ageMs * (1 + JITTER * Math.random()), session).unref();
    session.once('close', () => clearTimeout(timer));
  };
}
