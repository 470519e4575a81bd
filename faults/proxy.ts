import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy that can do to connections what networks do. */
export interface TcpProxy {
  readonly port: number;
  /** Connections open now. */
  readonly open: number;
  /** Bytes are held back this many milliseconds, in each direction. */
  delay(ms: number): void;
  /** No byte passes, nothing is closed, new connections are taken and stay silent. */
  freeze(): void;
  /** What was held back passes. */
  thaw(): void;
  /** Connections open now stay silent for ever, as when a firewall has forgotten them; new ones are taken as before. */
  forget(): void;
  /** Breaks every connection with a reset. */
  cut(): void;
  /** New connections are refused until `accept`. */
  refuse(): void;
  accept(): void;
  close(): void;
}

interface Pipe {
  readonly client: Socket;
  readonly server: Socket;
}

/** Opens a proxy on a free port of 127.0.0.1, to whatever port `target` answers when a connection comes. */
export async function startProxy(target: () => number): Promise<TcpProxy> {
  const pipes = new Set<Pipe>();
  const sockets = new Set<Socket>();
  let frozen = false;
  let refusing = false;
  let delayMs = 0;
  const listener = createServer((client) => {
    if (refusing) return void client.resetAndDestroy();
    const pipe = { client, server: connect(target(), '127.0.0.1') };
    pipes.add(pipe);
    relay(client, pipe.server);
    relay(pipe.server, client);
    for (const socket of [client, pipe.server]) {
      socket.setNoDelay(true);
      if (frozen) socket.pause();
    }
  });
  function relay(from: Socket, to: Socket): void {
    sockets.add(from);
    from.on('error', () => {});
    from.on('data', (bytes) => {
      if (delayMs === 0) return void to.write(bytes);
      setTimeout(() => to.write(bytes), delayMs);
    });
    from.once('close', () => {
      sockets.delete(from);
      for (const pipe of pipes) if (pipe.client === from || pipe.server === from) pipes.delete(pipe);
      to.destroy();
    });
  }
  const all = (act: (socket: Socket) => void) => {
    for (const { client, server } of pipes) [client, server].forEach(act);
  };
  await once(listener.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (listener.address() as AddressInfo).port,
    get open() {
      return pipes.size;
    },
    delay(ms) {
      delayMs = ms;
    },
    freeze() {
      frozen = true;
      all((socket) => socket.pause());
    },
    forget() {
      all((socket) => socket.pause());
      pipes.clear();
    },
    thaw() {
      frozen = false;
      all((socket) => socket.resume());
    },
    cut() {
      all((socket) => socket.resetAndDestroy());
    },
    refuse() {
      refusing = true;
    },
    accept() {
      refusing = false;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      listener.close();
    },
  };
}
