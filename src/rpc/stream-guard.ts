import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { constants, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { type IsProxy, visitors } from './client-at.ts';
import type { Limits } from './limits.ts';
import type { Route } from './listener.ts';
import type { TakePlace } from './places.ts';
import type { ResetBudget } from './reset-budget.ts';
import type { TurnAway } from './turned-away.ts';
import type { WatchOutlet } from './unread-budget.ts';

/** Watches one HTTP/2 stream from its headers on. */
export type StreamGuard = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** What a guard is told to do about the streams of its listener. */
export interface GuardOptions {
  readonly limits: Limits;
  readonly isProxy: IsProxy;
  readonly takeStream: TakePlace;
  readonly resets: ResetBudget;
  readonly watchOutlet: WatchOutlet;
  readonly turnAway: TurnAway;
}

/** Those who can be told that they are out of time have been by then: this guard tells nobody. */
export const TOLD_MS = 1_500;

/**
 * No library closes an HTTP/2 stream whose request never ends, or whose answer nobody reads, and none counts the streams of
 * a client over its connections; this does. Methods that stream requests may take their time to send them, those that stream
 * answers may pause between them. A stream in excess is closed, and counts as one that its client breaks off.
 */
export function streamGuard(routes: readonly Route[], options: GuardOptions): StreamGuard {
  const { resets, watchOutlet, takeStream, turnAway } = options;
  const visitorOf = visitors(options.isProxy);
  const watchTime = timeGuard(routes, options.limits);
  return (stream, headers) => {
    const session = stream.session as ServerHttp2Session | undefined;
    if (!session || session.destroyed) return;
    const visitor = visitorOf(session);
    if (!resets.begin(visitor)) return;
    let closedByUs = false;
    const cut = (code: number = constants.NGHTTP2_CANCEL) => {
      closedByUs = true;
      stream.close(code);
    };
    const free = takeStream(visitor.client);
    if (!free) {
      turnAway('stream over the limit', visitor.client);
      cut(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      return resets.breakOff(visitor);
    }
    watchOutlet(stream, cut);
    stream.once('close', () => {
      free();
      // A client may give NO_ERROR as its reason; then the answer had not ended.
      const broken = stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR;
      if (broken && !closedByUs) resets.breakOff(visitor);
    });
    watchTime(stream, headers, () => {
      turnAway('request that never ended or answer never read');
      cut();
    });
  };
}

type TimeGuard = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, close: () => void) => void;

function timeGuard(routes: readonly Route[], { bodyMs, stillMs }: Limits): TimeGuard {
  const methods = routes.flatMap(({ service }) => service.methods);
  const pathsOf = (kinds: RegExp) =>
    new Set(methods.filter((m) => kinds.test(m.methodKind)).map((m) => `/${m.parent.typeName}/${m.name}`));
  const [slowToAsk, slowToAnswer] = [pathsOf(/^(client|bidi)/), pathsOf(/^(server|bidi)/)];
  return (stream, headers, close) => {
    const path = headers[constants.HTTP2_HEADER_PATH]?.toString() ?? '';
    if (!slowToAsk.has(path)) {
      const timer = setTimeout(close, bodyMs + TOLD_MS).unref();
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
