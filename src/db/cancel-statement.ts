import pg from 'pg';
import { createGate } from './gate.ts';

/** Connections that may cancel statements at once, beside the pool; more wait for a second, then the statement runs on to its time-out. */
const cancelling = createGate(2, 1_000, 'OVERLOADED');

/** Milliseconds to connect, and again for the answer: a silent database must not keep the statement's own connection waiting for this one. */
const PATIENCE_MS = 2_000;

/** Backends whose cancel was sent and not answered: it may still come. Their connections are not used again. */
export const unanswered = new Set<number>();

/**
 * Has the statement cancelled that the backend `pid` runs for somebody who has gone. Resolves when that is done or given up, and
 * never rejects: until then the connection must not run another statement, which the cancel would hit. A flood of callers who
 * go away opens no flood of connections.
 */
export async function cancelStatement(options: pg.ClientConfig, pid: number): Promise<void> {
  const leave = await cancelling.enter('', new AbortController().signal).catch(() => undefined);
  if (!leave) return;
  const client = new pg.Client({
    ...options,
    application_name: 'amrutam cancel',
    connectionTimeoutMillis: PATIENCE_MS,
    query_timeout: PATIENCE_MS,
  });
  client.on('error', () => {});
  let sent = false;
  try {
    await client.connect();
    sent = true;
    await client.query('SELECT pg_cancel_backend($1)', [pid]);
  } catch {
    if (sent) unanswered.add(pid);
  } finally {
    leave();
    void client.end().catch(() => {});
  }
}
