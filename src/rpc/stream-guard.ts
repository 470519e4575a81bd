import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { constants, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Limits } from './limits.ts';
import type { Route } from './listener.ts';
import type { BreakOff } from './reset-budget.ts';
import type { TurnAway } from './turned-away.ts';
import type { WatchOutlet } from './unread-budget.ts';

/** Watches one HTTP/2 stream from its headers on. */
export type StreamGuard = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** What a guard is told to do about the streams of its listener. */
export interface GuardOptions {
  readonly limits: Limits;
  readonly breakOff: BreakOff;
  readonly watchOutlet: WatchOutlet;
  readonly turnAway: TurnAway;
}

/**
 * No library closes an HTTP/2 stream whose request never ends, or whose answer nobody reads; this does. Methods that
 * stream requests may take their time to send them, those that stream answers may pause between them. Streams that their
 * client breaks off are told to `breakOff`.
 */
export function streamGuard(routes: readonly Route[], options: GuardOptions): StreamGuard {
  const { bodyMs, stillMs } = options.limits;
  const methods = routes.flatMap(({ service }) => service.methods);
  const pathsOf = (kinds: RegExp) =>
    new Set(methods.filter((m) => kinds.test(m.methodKind)).map((m) => `/${m.parent.typeName}/${m.name}`));
  const [slowToAsk, slowToAnswer] = [pathsOf(/^(client|bidi)/), pathsOf(/^(server|bidi)/)];
  return (stream, headers) => {
    const path = headers[constants.HTTP2_HEADER_PATH]?.toString() ?? '';
    const { session } = stream;
    let closedByUs = false;
    const cut = () => {
      closedByUs = true;
      stream.close(constants.NGHTTP2_CANCEL);
    };
    const close = () => {
      options.turnAway('request that never ended or answer never read');
      cut();
    };
    options.watchOutlet(stream, cut);
    stream.once('close', () => {
      const broken = !closedByUs && stream.rstCode !== constants.NGHTTP2_NO_ERROR;
      if (broken && session) options.breakOff(session as ServerHttp2Session);
    });
    if (!slowToAsk.has(path)) {
      const timer = setTimeout(close, bodyMs).unref();
      const clear = () => clearTimeout(timer);
      stream.once('end', clear).once('close', clear);
    }
    const still = () => {
      if (slowToAnswer.has(path) && stream.writableLength === 0) stream.setTimeout(stillMs, still);
      else close();
    };
    stream.setTimeout(stillMs, still);
  };
}

/**
 * Sets `guard` on every HTTP/2 stream that arrives at `port()`, where the library that serves it hides them. Returns how
 * to stop that.
 */
export function guardPort(port: () => number, guard: StreamGuard): () => void {
  const channel = 'http2.server.stream.created';
  const watch = (message: unknown) => {
    const { stream, headers } = message as { stream: ServerHttp2Stream; headers: IncomingHttpHeaders };
    if (stream.session?.socket.localPort === port()) guard(stream, headers);
  };
  subscribe(channel, watch);
  return () => unsubscribe(channel, watch);
}
