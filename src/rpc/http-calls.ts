import type { DescMethod } from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  createConnectRouter,
  createContextKey,
  createContextValues,
  createServiceImplSpec,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import type { UniversalHandler, UniversalServerRequest } from '@connectrpc/connect/protocol';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import { Fault } from '../fault.ts';
import { withinTime } from './body-deadline.ts';
import { kPeerAddress } from './call.ts';
import { type Chain, chainOf, refuseThrough } from './chain.ts';
import { type ClientAddress, clientAddress } from './client-address.ts';
import type { DoorOptions } from './connection-limit.ts';
import type { Ending } from './ending.ts';
import { tagged } from './entity-tag.ts';
import { cancelled, faultOfUnread, outOfTime, tooLarge } from './framework-error.ts';
import { headerSize } from './header-size.ts';
import { setDeadline } from './http-deadline.ts';
import {
  askToLeave,
  cacheControl,
  type HttpRequest,
  type HttpResponse,
  mayBeKept,
  sendJson,
  vary,
} from './http-headers.ts';
import { pathOf, sendWrongMethod } from './http-pages.ts';
import { notThere, sendRefusal } from './http-refusal.ts';
import type { Leaves } from './leaving.ts';
import { limitWatches } from './limit-watches.ts';
import type { Limits } from './limits.ts';
import type { ListenerOptions } from './listener.ts';
import { kRefusal } from './translate.ts';
import type { TurnAway } from './turned-away.ts';

/** Answers a request if it is an RPC; returns whether it is. */
export type Calls = (req: HttpRequest, res: HttpResponse) => boolean;

/** What the calls of one listener share. */
export interface CallsOptions extends ListenerOptions, DoorOptions {
  readonly limits: Limits;
  readonly end: Ending;
  readonly leaves: Leaves;
}

/** How far a call has come. */
interface Progress {
  context?: HandlerContext;
  /** The chain has been asked. */
  entered: boolean;
  /** The chain has answered, in time, with a message. */
  answered: boolean;
}

const kProgress = createContextKey<Progress>({ entered: false, answered: false }, { description: 'progress' });

/** Set when the time of a call was up before its message was there. */
const kLate = createContextKey<Fault | undefined>(undefined, { description: 'late' });

/** Connect, gRPC-Web, and over TLS gRPC, on Node's HTTP servers. */
export function calls(options: CallsOptions): Calls {
  const { limits } = options;
  const handlers = handlersOf(options);
  const addressOf = clientAddress(options.trustedProxies ?? []);
  return (req, res) => {
    const handler = handlers.get(pathOf(req));
    if (!handler) return false;
    const request = inTime(requestOf(req, res, addressOf), handler.method, { res, limits });
    // HTTP/2 of Node takes more than it says it does.
    if (headerSize(request.header) > limits.headerBytes) request.contextValues?.set(kRefusal, tooLarge());
    serve(handler, request, { ...options, req, res }).catch((err: unknown) => {
      // Nobody is left to answer.
      if (request.signal.aborted) return;
      options.log.error({ err }, 'a call could not be answered');
      if (res.headersSent) res.destroy();
      else sendJson(req, res, 500, { code: 'internal', message: 'internal error' });
    });
    return true;
  };
}

function handlersOf(options: CallsOptions): Map<string, UniversalHandler> {
  const { interceptors, end, tls, routes, limits, isProxy } = options;
  const refusing = chainOf(interceptors, () => Promise.reject(new Error('a refused call was let through')));
  const watching = limitWatches(limits, isProxy);
  const router = (shutdownSignal?: AbortSignal) =>
    createConnectRouter({
      interceptors: [notingProgress, ...interceptors, watching],
      requestGate: (context) => gate(context, refusing, end),
      readMaxBytes: limits.receiveBytes,
      writeMaxBytes: limits.sendBytes,
      acceptCompression: [],
      grpc: tls !== undefined,
      shutdownSignal,
    });
  // Unary calls may finish while the listener closes.
  const [calls, streams] = [router(), router(end.closing)];
  for (const { service, impl } of routes) {
    for (const { kind, method, impl: handle } of Object.values(createServiceImplSpec(service, impl).methods)) {
      (kind === 'unary' ? calls : streams).rpc(method, handle);
    }
  }
  return new Map([...calls.handlers, ...streams.handlers].map((handler) => [handler.requestPath, handler]));
}

/** Runs before connect reads the message: the place to refuse a call in the form its protocol asks for. */
async function gate(context: HandlerContext, refusing: Chain, end: Ending): Promise<void> {
  const { values, method } = context;
  const draining = method.methodKind === 'unary' ? end.late : end.closing;
  values.get(kProgress).context = context;
  const refusal = values.get(kRefusal) ?? (draining.aborted ? (draining.reason as Fault) : undefined);
  if (refusal) throw await refuseThrough(refusing, context, refusal);
}

const notingProgress: Interceptor = (next) => async (req) => {
  const progress = req.contextValues.get(kProgress);
  progress.entered = true;
  const res = await next(req);
  progress.answered = !req.stream && !req.signal.aborted;
  return res;
};

function requestOf(req: HttpRequest, res: HttpResponse, addressOf: ClientAddress) {
  const values = createContextValues().set(kProgress, { entered: false, answered: false });
  const request = universalRequestFromNodeRequest(req, res, undefined, values);
  values.set(kPeerAddress, addressOf(req.socket.remoteAddress ?? '', request.header.get('x-forwarded-for')));
  // Left open by a reader that stops early, since the answer goes over the same connection.
  return { ...request, body: req.iterator({ destroyOnReturn: false }) };
}

/** A message that doesn't come in the time that its call has is refused; streams of messages may take theirs. */
function inTime(
  request: UniversalServerRequest & { readonly body: AsyncIterable<Uint8Array> },
  method: DescMethod,
  { res, limits }: { readonly res: HttpResponse; readonly limits: Limits },
): UniversalServerRequest {
  const allowed = setDeadline(request.header, method, limits);
  if (/^(client|bidi)/.test(method.methodKind)) return request;
  const late = () => {
    const refusal = outOfTime();
    request.contextValues?.set(kLate, refusal);
    // Nobody waits for the rest.
    if (!res.headersSent && res.req.httpVersionMajor === 1) res.setHeader('connection', 'close');
    return refusal;
  };
  return { ...request, body: withinTime(request.body, Math.min(allowed ?? limits.bodyMs, limits.bodyMs), late) };
}

interface Exchange {
  readonly req: HttpRequest;
  readonly res: HttpResponse;
  readonly leaves: Leaves;
  readonly turnAway: TurnAway;
}

async function serve(handler: UniversalHandler, request: UniversalServerRequest, exchange: Exchange) {
  const { req, res, leaves } = exchange;
  let response = await handler(request);
  const refusal = missed(request, response.status);
  if (refusal) {
    request.contextValues?.set(kRefusal, refusal);
    response = await handler(request);
  }
  if (leaves(req)) askToLeave(req, res);
  if (!response.body) return sendStatus(handler, response.status, exchange);
  const ok = response.status === 200;
  res.setHeader('cache-control', cacheControl(req, ok));
  vary(res, 'authorization');
  if (mayBeKept(req, ok)) response = await tagged(response, req.headers['if-none-match']);
  // What is left of a request refused early is read and dropped, so that the connection can be used again.
  res.once('finish', () => req.resume());
  await universalResponseToNodeResponse(response, res);
}

/** What connect has refused by itself, before or after our chain, without a reason; it is refused again through the gate. */
function missed(
  { contextValues, signal: client }: UniversalServerRequest,
  status: number,
): Fault | ConnectError | undefined {
  const { context, entered, answered } = contextValues?.get(kProgress) ?? {};
  if (!context || contextValues?.get(kRefusal)) return undefined;
  if (client.aborted) return entered ? undefined : cancelled();
  if (!entered) return contextValues?.get(kLate) ?? faultOfUnread(context.signal.reason);
  // In gRPC and gRPC-Web an answer that can be sent is not yet sent here; one that can't has ended the call.
  const unsent = context.protocolName === 'connect' ? status !== 200 : context.signal.aborted;
  if (!answered || !unsent) return undefined;
  return new ConnectError(
    `the answer of ${context.method.name} can't be sent: ${context.signal.reason}`,
    Code.Internal,
  );
}

/** Requests that are none in any protocol: connect answers them with a bare status. */
function sendStatus(handler: UniversalHandler, status: number, { req, res, turnAway }: Exchange): void {
  if (status === 405) {
    turnAway('another HTTP method');
    sendWrongMethod(req, res, handler.allowedMethods);
  } else if (status === 505) {
    turnAway('another HTTP version');
    sendRefusal(req, res, status, notThere('this method streams both ways, which takes HTTP/2'));
  } else {
    turnAway('another content type');
    const why = new Fault('MESSAGE_MALFORMED', 'the content type is none that this method speaks');
    sendRefusal(req, res, status, why);
  }
}
