import type { Server, Socket } from 'node:net';
import { clientAt, type IsProxy } from './client-at.ts';
import type { Limits } from './limits.ts';
import { places } from './places.ts';
import type { TurnAway } from './turned-away.ts';

/** What a listener's door needs to know. */
export interface DoorOptions {
  readonly limits: Limits;
  /** Proxies stand for many clients. */
  readonly isProxy: IsProxy;
  readonly turnAway: TurnAway;
}

/**
 * Bounds the connections of `server`, in all and of one client (an IPv4 address, an IPv6 network of 64 bits), and hangs up
 * on those that say nothing. Trusted proxies are bounded by neither number. Those in excess are closed at once.
 */
export function limitConnections(server: Server, options: DoorOptions): void {
  const { connections, connectionsEach, silentMs } = options.limits;
  const take = places({ all: connections, each: connectionsEach });
  server.prependListener('connection', (socket: Socket) => {
    hangUpOnSilence(socket, silentMs, options.turnAway);
    const client = clientAt(socket.remoteAddress, options.isProxy);
    if (client === undefined) return;
    const free = take(client);
    if (free) {
      socket.once('close', free);
      return;
    }
    options.turnAway('connection over the limit', client);
    socket.destroy();
  });
}

function hangUpOnSilence(socket: Socket, silentMs: number, turnAway: TurnAway): void {
  const timer = setTimeout(() => {
    if (socket.bytesRead > 0) return;
    turnAway('connection without a word');
    socket.destroy();
  }, silentMs).unref();
  socket.once('close', () => clearTimeout(timer));
}
