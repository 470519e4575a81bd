import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands between a service and PostgreSQL, and can stop the COMMIT of a transaction on its way. */
export interface DatabaseProxy {
  /** The database's URL, by way of the proxy. */
  readonly url: string;
  /** The next COMMIT that comes along. */
  nextCommit(): Promise<StoppedCommit>;
  /** Cuts all connections. */
  close(): Promise<void>;
}

/** A COMMIT that the database hasn't had yet. */
export interface StoppedCommit {
  /** Lets the database have it; resolves when its answer is there, which the service doesn't get yet. */
  deliver(): Promise<void>;
  /** Lets the service have the answer; from then on the connection works as before. */
  release(): void;
  /** Breaks the connection on both sides. */
  cut(): void;
}

/** Opens a proxy to the database of `url`, on a free port of 127.0.0.1. */
export async function startDatabaseProxy(url: string): Promise<DatabaseProxy> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  const waiting: ((commit: StoppedCommit) => void)[] = [];
  const server = createServer((service) => {
    const database = connect(Number(target.port || 5432), target.hostname);
    for (const socket of [service, database]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        sockets.delete(socket);
        cut();
      });
    }
    const cut = () => {
      service.destroy();
      database.destroy();
    };
    database.pipe(service);
    service.on('data', (bytes) => {
      const wanted = isCommit(bytes) ? waiting.shift() : undefined;
      if (wanted) wanted(stop(bytes, { service, database, cut }));
      else database.write(bytes);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const through = new URL(url);
  through.hostname = '127.0.0.1';
  through.port = String((server.address() as AddressInfo).port);
  return {
    url: through.toString(),
    nextCommit: () => new Promise((resolve) => waiting.push(resolve)),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

function stop(
  bytes: Buffer,
  { service, database, cut }: { service: Socket; database: Socket; cut: () => void },
): StoppedCommit {
  let answer: Buffer | undefined;
  return {
    async deliver() {
      database.unpipe(service);
      database.write(bytes);
      [answer] = (await once(database.resume(), 'data')) as [Buffer];
    },
    release() {
      if (answer) service.write(answer);
      database.pipe(service);
    },
    cut,
  };
}

/** A simple query, `Q`, of which the text is COMMIT. */
function isCommit(bytes: Buffer): boolean {
  return bytes[0] === 0x51 && /^commit\b/i.test(bytes.toString('latin1', 5, 20));
}
