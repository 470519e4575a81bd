import pg from 'pg';
import type { BackendKey } from './cancel-statement.ts';
import { isGone, isUnconfirmed, Unconfirmed } from './database-error.ts';
import { BEGIN, OpeningQuery } from './opening-query.ts';
import { patience } from './patience.ts';
import type { PreparedNames } from './prepared.ts';

/** What a pool is told of its connections. */
export interface Watch {
  /** Milliseconds that the server gives a statement which doesn't say otherwise. */
  readonly statementMs: number;
  /** A statement has had no answer for a while. */
  onLate(): void;
  /** The server said that it is going or read-only, or has gone. */
  onGone(error: unknown): void;
  /** Has the statement cancelled that the connection with this key runs; resolves when no cancel can come any more. */
  cancel(key: BackendKey): Promise<void>;
}

/** Milliseconds without an answer after which it is doubtful whether there is a database. */
const LATE_MS = 2_500;
/** Milliseconds for which an answer may be late after the server should have ended the statement by itself. */
const MARGIN_MS = 2_000;
/** Milliseconds that a statement whose caller has gone has to end by being cancelled. */
const ABANDONED_MS = 3_000;

/**
 * Connections that don't wait for ever. The server's own time-outs say nothing when the server or the network is silent:
 * one that owes an answer for longer than its statement may take is destroyed, COMMIT included, and so is one that owes
 * it to nobody any more. One whose server is going or became read-only is closed at once, whatever its pool thinks.
 *
 * A change that is perhaps on no standby yet isn't done, whatever the server answers: somebody has ended the wait for it.
 *
 * They keep statements that are asked again prepared, and send BEGIN together with the statement after it.
 */
export function clientWatchedBy(watch: Watch, names: PreparedNames) {
  return class extends pg.Client {
    /** BEGIN was asked for, and goes with the next statement. */
    #opening = false;
    /** What is being answered was told to be on this server alone. */
    #alone = false;

    constructor(config?: pg.ClientConfig) {
      super(config);
      this.on('notice', (notice) => {
        if (isUnconfirmed(notice)) this.#alone = true;
      });
    }

    override query(...asked: never[]): never {
      const answer = this.#ask(...(asked as unknown as Parameters<pg.Client['query']>));
      return (answer instanceof Promise && answer !== NOTHING ? this.#bound(answer) : answer) as never;
    }

    #ask(...asked: Parameters<pg.Client['query']>): unknown {
      const [text, values = []] = asked as unknown as [unknown, unknown[] | undefined];
      if (typeof text !== 'string') return super.query(...asked);
      if (text === BEGIN) {
        this.#opening = true;
        return NOTHING;
      }
      if (!this.#opening) return super.query({ text, values, name: values.length ? names.nameOf(text) : undefined });
      this.#opening = false;
      // Nothing was begun.
      if (text === 'commit' || text === 'rollback') return NOTHING;
      return new Promise((resolve, reject) => {
        const done = (error: Error | null, result: pg.QueryResult) => (error ? reject(error) : resolve(result));
        super.query(
          new OpeningQuery({ text, values, name: names.nameOf(text), keepBegin: names.kept() }, done) as never,
        );
      });
    }

    /** The same answer, in bounded time: when nobody waits for it any more, the server is told so. */
    #bound(answer: Promise<unknown>): Promise<unknown> {
      const { signal, statementMs = watch.statementMs } = patience();
      const destroy = () => this.connection.stream.destroy(new Error(SILENT));
      const timers = [setTimeout(() => watch.onLate(), LATE_MS), setTimeout(destroy, statementMs + MARGIN_MS)];
      let cancelled: Promise<void> | undefined;
      const abandon = () => {
        // A pooler that keeps no statements is also one that a cancel may crash (PgBouncer before 1.21); hanging up ends the statement too.
        if (!names.kept()) return this.connection.stream.destroy(new Error(ABANDONED));
        timers.push(setTimeout(destroy, ABANDONED_MS));
        cancelled = watch.cancel(this as unknown as BackendKey);
      };
      signal?.addEventListener('abort', abandon, { once: true });
      const settled = () => {
        for (const timer of timers) clearTimeout(timer);
        signal?.removeEventListener('abort', abandon);
        return cancelled;
      };
      return answer.then(
        (result) => {
          const unsafe = settled();
          const confirmed = () => this.#confirmed(result);
          return unsafe ? unsafe.then(confirmed) : confirmed();
        },
        async (error: unknown) => {
          names.failed(error);
          if (isGone(error)) {
            this.#close();
            watch.onGone(error);
          }
          await settled();
          throw error;
        },
      );
    }

    #confirmed<T>(result: T): T {
      if (!this.#alone) return result;
      this.#alone = false;
      throw new Unconfirmed();
    }

    /** As ended by us, which keeps it out of the pool; not politely, because nobody may be there to answer. */
    #close(): void {
      this.end().catch(() => {});
      this.connection.stream.destroy();
    }
  };
}

/** What statements fail with whose connection was destroyed: Connection terminated, to those who read errors. */
const SILENT = 'Connection terminated: the database has been silent for too long';
const ABANDONED = 'Connection terminated: nobody waits for its answer any more';

/** The answer to what was not sent. */
const NOTHING = Promise.resolve({ command: '', rows: [], rowCount: null });
