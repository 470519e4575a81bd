import type { Server, Socket } from 'node:net';
import { networkOf } from '../network.ts';
import { bareAddress } from './client-address.ts';
import type { Limits } from './limits.ts';
import type { TurnAway } from './turned-away.ts';

/** What a listener's door needs to know. */
export interface DoorOptions {
  readonly limits: Limits;
  /** Whether an address is that of a proxy, which stands for many clients. */
  readonly isProxy: (address: string) => boolean;
  readonly turnAway: TurnAway;
}

/**
 * Bounds the connections of `server`, in all and of one client (an IPv4 address, an IPv6 network of 64 bits), and hangs up
 * on those that say nothing. Trusted proxies are bounded by neither number. Those in excess are closed at once.
 */
export function limitConnections(server: Server, options: DoorOptions): void {
  const { connections, connectionsEach, silentMs } = options.limits;
  const held = new Map<string, number>();
  let all = 0;
  const enter = (client: string) => {
    held.set(client, (held.get(client) ?? 0) + 1);
    all += 1;
  };
  const leave = (client: string) => {
    const left = (held.get(client) ?? 1) - 1;
    if (left > 0) held.set(client, left);
    else held.delete(client);
    all -= 1;
  };
  server.prependListener('connection', (socket: Socket) => {
    hangUpOnSilence(socket, silentMs, options.turnAway);
    const address = bareAddress(socket.remoteAddress ?? '') ?? '';
    if (options.isProxy(address)) return;
    const client = networkOf(address);
    if (all >= connections || (held.get(client) ?? 0) >= connectionsEach) {
      options.turnAway('connection over the limit');
      socket.destroy();
      return;
    }
    enter(client);
    socket.once('close', () => leave(client));
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
