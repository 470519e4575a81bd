import { createClient } from '@redis/client';

/** A client of Redis; while Redis is away its commands fail at once. */
export type Redis = ReturnType<typeof connectClient>;

/** Milliseconds for a connection to come about, and between two looks whether an open one still answers. */
const CONNECT_MS = 1_000;
const PING_MS = 1_000;
/** After which a connection that says nothing, not even to those looks, is given up. */
const SILENT_MS = 3_000;
/** Commands under way at most; more fail at once. */
const QUEUE = 1_000;

/**
 * Opens a client of the Redis that `url` names, and goes on trying for as long as it isn't there: nothing waits for it, and
 * nothing needs it. `warn` hears when it is lost, not each try, and `found` when it answers.
 */
export function openRedis(
  url: string,
  { warn, found }: { readonly warn: (problem: string) => void; readonly found: () => void },
): Redis {
  const client = connectClient(url);
  let lost = false;
  client.on('error', (error: Error) => {
    if (!lost) warn(error.message || error.name);
    lost = true;
  });
  client.on('ready', () => {
    lost = false;
    found();
  });
  client.connect().catch(() => {}); // told by 'error', and tried again
  return client;
}

/** Ends it without waiting for what is under way. */
export function closeRedis(client: Redis): void {
  if (client.isOpen) client.destroy();
}

function connectClient(url: string) {
  return createClient({
    url,
    name: 'amrutam',
    disableOfflineQueue: true,
    commandsQueueMaxLength: QUEUE,
    pingInterval: PING_MS,
    socket: {
      connectTimeout: CONNECT_MS,
      socketTimeout: SILENT_MS,
      reconnectStrategy: (tries) => Math.min(50 * 2 ** Math.min(tries, 6), 2_000) + Math.random() * 200,
    },
  });
}
