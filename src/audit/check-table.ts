import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { row, rows } from '../db/statement.ts';
import { problem, type SealProblem } from './seal-problem.ts';
import type { COLUMNS } from './sealed-row.ts';

/** The columns of audit_event with the types that their values have for everybody. */
const TYPES: Readonly<Record<(typeof COLUMNS)[number], string>> = {
  id: 'uuid',
  recorded_at: 'timestamp with time zone',
  actor_id: 'uuid',
  actor_role: 'text',
  session_id: 'uuid',
  action: 'text',
  outcome: 'text',
  reason: 'text',
  entity_type: 'text',
  entity_id: 'uuid',
  patient_id: 'uuid',
  request_id: 'uuid',
  trace_id: 'text',
  client_address: 'text',
  instance: 'text',
  changed_fields: 'text[]',
  xid: 'xid8',
};

interface Part {
  readonly kind: string;
  readonly persistence: string;
  readonly policies: boolean;
  readonly rules: boolean;
  /** What its triggers are for: bits of pg_trigger.tgtype. */
  readonly triggers: readonly number[];
}

/** The bit of triggers that act on an INSERT. */
const ON_INSERT = 4;

/**
 * Whether audit_event is what the migrations have made: rows in tables, with columns of plain types. An owner could put a view in its place,
 * hide rows by a policy, have them changed as they are written, or have names mean something else: then whoever verifies would see other rows than whoever reads. `seal`: for
 * the problem. Whoever can change the server itself can lie here, too.
 */
export async function checkTable(em: EntityManager, seal: number): Promise<SealProblem | undefined> {
  const wrong = (what: string) => problem('REPLACED_TABLE', seal, what);
  // By itself and compared here: with another schema before pg_catalog no operator can be relied on.
  const found = await row<{ path: readonly string[] }>(
    em,
    sql`SELECT pg_catalog.current_schemas(TRUE)::text[] AS path`,
  );
  if (found?.path.find((schema) => !schema.startsWith('pg_temp_')) !== 'pg_catalog')
    return wrong('search_path has another schema before pg_catalog, whose functions and operators would be taken');
  const parts = await rows<Part>(
    em,
    sql`SELECT c.relkind::text AS kind, c.relpersistence::text AS persistence, c.relrowsecurity AS policies, c.relhasrules AS rules,
          ARRAY(SELECT g.tgtype::integer FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal) AS triggers
        FROM pg_catalog.pg_partition_tree('audit_event'::regclass) t JOIN pg_catalog.pg_class c ON c.oid = t.relid`,
  );
  if (!parts.some(({ kind }) => kind === 'p') || !parts.every(({ kind }) => kind === 'p' || kind === 'r'))
    return wrong('audit_event, or a partition of it, is not a table: a view or the like is in its place');
  if (parts.some(({ persistence }) => persistence === 't')) return wrong('audit_event is a table of one session');
  if (parts.some(({ policies, rules }) => policies || rules))
    return wrong('audit_event, or a partition of it, has a policy or a rule, which may hide rows or show others');
  if (parts.some(({ triggers }) => triggers.some((type) => type & ON_INSERT)))
    return wrong('audit_event, or a partition of it, has a trigger that may change or drop what is written');
  return (await isPlain(em)) ? undefined : wrong('a column of audit_event has another type than it was made with');
}

async function isPlain(em: EntityManager): Promise<boolean> {
  const columns = await rows<{ name: string; type: string }>(
    em,
    sql`SELECT attname::text AS name, pg_catalog.format_type(atttypid, NULL) AS type FROM pg_catalog.pg_attribute
        WHERE attrelid = 'audit_event'::regclass AND NOT attisdropped`,
  );
  const types = new Map(columns.map(({ name, type }) => [name, type]));
  return Object.entries(TYPES).every(([name, type]) => types.get(name) === type);
}
