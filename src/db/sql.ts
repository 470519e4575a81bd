/** A piece of SQL with its values bound apart: what `sql` makes. Its texts come from our sources alone. */
export class Sql {
  /** What stands before, between and after the values. Of one place in the sources always the same array. */
  readonly texts: readonly string[];
  /** Values, and pieces that stand for themselves. */
  readonly values: readonly unknown[];

  constructor(texts: readonly string[], values: readonly unknown[] = []) {
    this.texts = texts;
    this.values = values;
  }
}

/** A statement as a driver takes it: `$1` stands for the first value. */
export interface CompiledSql {
  /** From the same places in the sources always the same string, not just an equal one. */
  readonly text: string;
  readonly values: readonly unknown[];
}

/** A piece of SQL: `${}` takes another piece, or a value, which never becomes a part of the text. */
export function sql(texts: TemplateStringsArray, ...values: readonly unknown[]): Sql {
  return new Sql(texts, values);
}

/** Pieces or values one after the other. */
sql.join = (items: readonly unknown[], separator = ', '): Sql =>
  new Sql(
    once(`${items.length}${separator}`, () => textsBetween(items.length, separator)),
    items,
  );

/** The name of a table, a column or a part of a statement. */
sql.ref = (name: string): Sql => new Sql(once(name, () => [`"${name.replaceAll('"', '""')}"`]));

function textsBetween(items: number, separator: string): string[] {
  if (items === 0) return [''];
  return ['', ...Array<string>(items - 1).fill(separator), ''];
}

const known = new Map<string, readonly string[]>();

function once(key: string, make: () => readonly string[]): readonly string[] {
  const texts = known.get(key) ?? make();
  known.set(key, texts);
  return texts;
}

/** What has been compiled so far: a tree whose branches are the texts and values met on the way through a piece. */
interface Shape {
  readonly next: Map<readonly string[] | typeof VALUE, Shape>;
  text?: string;
}
const VALUE = Symbol('value');
let root: Shape = { next: new Map() };
let shapes = 0;
/** After which all is forgotten; ours are some hundreds. */
const MOST_SHAPES = 20_000;

/**
 * Writes a piece out. Text is made once for each shape that a statement takes: finding it again costs 2 microseconds for the
 * largest of a booking, where making it anew costs 12, and as much again to find the name it is prepared under.
 */
export function compileSql(piece: Sql): CompiledSql {
  if (shapes > MOST_SHAPES) [root, shapes] = [{ next: new Map() }, 0];
  const values: unknown[] = [];
  const shape = walk(piece, root, values);
  shape.text ??= textOf(piece, { count: 0 });
  return { text: shape.text, values };
}

function walk({ texts, values }: Sql, from: Shape, found: unknown[]): Shape {
  let shape = branch(from, texts);
  for (const value of values) {
    if (value instanceof Sql) {
      shape = walk(value, shape, found);
    } else {
      found.push(value);
      shape = branch(shape, VALUE);
    }
  }
  return shape;
}

function branch({ next }: Shape, way: readonly string[] | typeof VALUE): Shape {
  const known = next.get(way);
  if (known) return known;
  const shape: Shape = { next: new Map() };
  next.set(way, shape);
  shapes += 1;
  return shape;
}

function textOf({ texts, values }: Sql, numbered: { count: number }): string {
  return texts.reduce((text, part, i) => {
    const before = values[i - 1];
    return `${text}${before instanceof Sql ? textOf(before, numbered) : `$${++numbered.count}`}${part}`;
  });
}
