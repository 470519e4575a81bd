import pg from 'pg';
import { createGate } from './gate.ts';

/** What a connection was given when it began, with which others can have its statement cancelled. */
export interface BackendKey {
  readonly processID: number;
  readonly secretKey: number;
}

/** Connections that may cancel statements at once, beside the pool; more wait for a second, then the statement runs on to its time-out. */
const cancelling = createGate(2, 1_000, 'OVERLOADED');

/** Milliseconds to connect, and again for the end: a silent database must not keep the statement's own connection waiting for this one. */
const PATIENCE_MS = 2_000;

/** Backends whose cancel was sent and not taken for certain: it may still come. Their connections are not used again. */
export const unanswered = new Set<number>();

/**
 * Has the statement cancelled that the connection with this key runs for somebody who has gone. Resolves when that is done or
 * given up, and never rejects: until then the connection must not run another statement, which the cancel would hit. A flood of
 * callers who go away opens no flood of connections.
 *
 * By PostgreSQL's own cancel request: a pooler passes it on to whichever backend works for that connection now, while the
 * processID that a pooler has made up is no backend's, or another's.
 */
export async function cancelStatement(options: pg.ClientConfig, key: BackendKey): Promise<void> {
  const leave = await cancelling.enter('', new AbortController().signal).catch(() => undefined);
  if (!leave) return;
  let sent = false;
  try {
    await request(new pg.Client(options), key, () => {
      sent = true;
    });
  } catch {
    if (sent) unanswered.add(key.processID);
  } finally {
    leave();
  }
}

/** What pg connects with; its types leave it out. */
interface Connecting extends pg.Connection {
  connect(portOrPath: number | string, host?: string): void;
  requestSsl(): void;
  cancel(processID: number, secretKey: number): void;
}
interface Target {
  readonly connection: Connecting;
  readonly host: string;
  readonly port: number;
  readonly ssl: unknown;
  readonly sslNegotiation?: string;
}

/** Resolves when the server has closed the connection, which it does after it has passed the cancel on. Rejects when it doesn't. */
function request(client: pg.Client, { processID, secretKey }: BackendKey, onSent: () => void): Promise<void> {
  const { connection, host, port, ssl, sslNegotiation } = client as unknown as Target;
  let timer: NodeJS.Timeout;
  return new Promise<void>((resolve, reject) => {
    const giveUp = () => reject(new Error('no answer to a cancel'));
    timer = setTimeout(giveUp, PATIENCE_MS);
    const send = () => {
      timer.refresh();
      onSent();
      connection.cancel(processID, secretKey);
    };
    connection.on('error', reject);
    connection.once('end', resolve);
    connection.once('connect', () => {
      if (!ssl) send();
      else if (sslNegotiation !== 'direct') connection.requestSsl();
    });
    connection.once('sslconnect', send);
    if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`);
    else connection.connect(port, host);
  }).finally(() => {
    clearTimeout(timer);
    (connection.stream as { destroy(): void }).destroy();
  });
}
