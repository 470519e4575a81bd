import type { PostgresClient } from 'kysely';
import pg from 'pg';
import { createGate } from './gate.ts';

/** Connections that may cancel statements at once, beside the pool; more wait for a second, then the statement runs on to its time-out. */
const cancelling = createGate(2, 1_000, 'OVERLOADED');

/** Milliseconds to connect, and again for the answer: a silent database must not keep the statement's own connection waiting for this one. */
const PATIENCE_MS = 2_000;

/** Backends whose cancel was sent and not answered: it may still come. Their connections are not used again. */
export const unanswered = new Set<number>();

/** The connection by which kysely cancels a statement whose caller has gone. A flood of callers who go away opens no flood of connections. */
export class CancelClient implements PostgresClient {
  private readonly client: pg.Client;
  private leave = () => {};

  constructor(options: pg.ClientConfig) {
    this.client = new pg.Client({
      ...options,
      application_name: 'amrutam cancel',
      connectionTimeoutMillis: PATIENCE_MS,
      query_timeout: PATIENCE_MS,
    });
    this.client.on('error', () => {});
  }

  async connect(): Promise<this> {
    this.leave = await cancelling.enter('', new AbortController().signal);
    await this.client.connect();
    return this;
  }

  /** Never asked for a cursor, which is the other form of it. */
  readonly query = this.run.bind(this) as PostgresClient['query'];

  private run(text: string, values: readonly unknown[]): Promise<unknown> {
    const pid = Number(/pg_cancel_backend\((\d+)\)/.exec(text)?.[1]);
    return this.client.query(text, [...values]).catch((error: unknown) => {
      unanswered.add(pid);
      throw error;
    });
  }

  end(): void {
    this.leave();
    this.leave = () => {};
    void this.client.end().catch(() => {});
  }
}
