import pg from 'pg';

/** What begins a transaction, as kysely writes it for MikroORM. */
export const BEGIN = 'start transaction isolation level read committed';
/** Under which connections keep it. */
export const BEGIN_NAME = 'begin';

/** A statement with what pg does when it has been asked. */
export interface Asked {
  readonly text: string;
  readonly values: readonly unknown[];
  /** Under which the connection keeps it; absent: it doesn't. */
  readonly name: string | undefined;
  /** Whether the connection may keep BEGIN. */
  readonly keepBegin: boolean;
}

type Done = (error: Error | null, result: pg.QueryResult) => void;

/** What pg writes with; its types leave it out. */
interface Wire {
  parse(statement: { readonly text: string; readonly name?: string }): void;
  bind(portal: { readonly statement?: string; readonly values: readonly unknown[] }): void;
  execute(portal: { readonly rows: number }): void;
}

interface PreparedQuery {
  prepare(wire: Wire): void;
  handleCommandComplete(message: unknown, wire: Wire): void;
}
const Query = pg.Query as unknown as new (config: object, values: readonly unknown[], done: Done) => PreparedQuery;

/** Connections that keep BEGIN. */
const keeping = new WeakSet<Wire>();

/**
 * A transaction's first statement, with the BEGIN before it in the same write: a round trip less (measured: 0.1 ms of CPU of
 * each booking). The server skips what follows a failed BEGIN until the end of the write, so nothing runs outside.
 */
export class OpeningQuery extends Query {
  private begun = false;
  private readonly asked: Asked;

  constructor(asked: Asked, done: Done) {
    super({ text: asked.text, name: asked.name, queryMode: 'extended' }, asked.values, done);
    this.asked = asked;
  }

  override prepare(wire: Wire): void {
    const { keepBegin } = this.asked;
    const name = keepBegin ? BEGIN_NAME : undefined;
    if (!keepBegin || !keeping.has(wire)) wire.parse({ text: BEGIN, name });
    if (keepBegin) keeping.add(wire);
    wire.bind({ statement: name, values: [] });
    wire.execute({ rows: 0 });
    super.prepare(wire);
  }

  /** The first is BEGIN's. */
  override handleCommandComplete(message: unknown, wire: Wire): void {
    if (this.begun) super.handleCommandComplete(message, wire);
    this.begun = true;
  }
}
