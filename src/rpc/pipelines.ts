import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { clientAt } from './client-at.ts';
import type { DoorOptions } from './connection-limit.ts';
import type { HttpRequest, HttpResponse } from './http-headers.ts';
import type { TakePlace } from './places.ts';
import type { WatchOutlet } from './unread-budget.ts';

/** What HTTP/1 connections share with the HTTP/2 streams of their listener. */
export interface PipelineOptions extends DoorOptions {
  readonly watchOutlet: WatchOutlet;
  readonly takeStream: TakePlace;
}

/** The requests that HTTP/1 clients send without waiting for answers. */
export interface Pipelines {
  /** Has what waits to be read on a connection counted, from its begin on. */
  readonly watch: (socket: Socket) => void;
  /** Called for every request. False: it was one too many, and its connection is gone. HTTP/2 is let pass. */
  readonly begin: (req: HttpRequest, res: HttpResponse) => boolean;
  /** Whether an answer has begun to go out on `socket`, and is not done. */
  readonly isAnswering: (socket: Socket) => boolean;
}

/** The answers that a connection owes; each with what gives its place back. */
type Owed = Map<HttpResponse, () => void>;

/**
 * Bounds pipelines by the numbers of HTTP/2: `streams` requests without an answer on a connection, `streamsEach` of a client;
 * and counts all their answers as unread. Node keeps all but the first beside the socket, and tells nobody when that closes.
 */
export function pipelinesOf({ limits, isProxy, turnAway, watchOutlet, takeStream }: PipelineOptions): Pipelines {
  const pipelines = new WeakMap<Socket, Owed>();
  const watch = (socket: Socket) => {
    const owed: Owed = new Map();
    pipelines.set(socket, owed);
    watchOutlet(outletOf(socket, owed), () => socket.destroy());
    socket.once('close', () => {
      for (const free of owed.values()) free();
      owed.clear();
    });
  };
  const begin = ({ httpVersionMajor, socket }: HttpRequest, res: HttpResponse) => {
    const owed = pipelines.get(socket);
    if (httpVersionMajor !== 1 || !owed) return true;
    const client = clientAt(socket.remoteAddress, isProxy);
    const free = owed.size < limits.streams && !socket.destroyed ? takeStream(client) : undefined;
    if (!free) {
      if (!socket.destroyed) turnAway('stream over the limit', client);
      socket.destroy();
      return false;
    }
    owed.set(res, free);
    (res as ServerResponse).once('close', () => owed.delete(res) && free());
    return true;
  };
  const isAnswering = (socket: Socket) => [...(pipelines.get(socket)?.keys() ?? [])].some((res) => res.headersSent);
  return { watch, begin, isAnswering };
}

function outletOf(socket: Socket, owed: Owed) {
  return {
    get writableLength() {
      let waiting = socket.writableLength;
      // The first counts its socket by itself.
      for (const { socket: own, writableLength } of owed.keys()) if (!own) waiting += writableLength;
      return waiting;
    },
    once: (event: 'close', listener: () => void) => socket.once(event, listener),
  };
}
