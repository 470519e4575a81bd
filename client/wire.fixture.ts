import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A server of bytes on this machine. */
export interface Wire {
  readonly port: number;
  /** Breaks all connections; new ones work. */
  cut(): void;
  close(): void;
}

/** Hands connections on a free port to `onConnection`. */
export async function wire(onConnection: (socket: Socket) => void): Promise<Wire> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    onConnection(socket.on('error', () => {}).on('close', () => sockets.delete(socket)));
  });
  await once(server.listen(0), 'listening');
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    close: () => {
      server.close();
      cut();
    },
  };
}

/** A port on which nobody listens. */
export async function freePort(): Promise<number> {
  const { port, close } = await wire(() => {});
  close();
  return port;
}

/** Stands between a client and the server on `target`, and can lose what the server says, until it is cut. */
export async function lossyWire(target: number): Promise<Wire & { swallowAnswers(): void }> {
  let swallowing = false;
  const through = await wire((near) => {
    const far = connect(target, '127.0.0.1').on('error', () => {});
    near.pipe(far);
    near.on('close', () => far.destroy());
    far.on('data', (bytes) => {
      if (!swallowing) near.write(bytes);
    });
    far.on('close', () => near.destroy());
  });
  return {
    ...through,
    swallowAnswers: () => {
      swallowing = true;
    },
    cut: () => {
      through.cut();
      swallowing = false;
    },
  };
}
