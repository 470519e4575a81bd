import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from '../db/sql.ts';
import { allOf, rows } from '../db/statement.ts';
import { type Page, type PageAsk, pageOf } from '../page.ts';
import type { AuditEvent } from './audit-event.ts';

/** What ListAuditEvents asks for; empty conditions don't count. */
export interface AuditListing {
  readonly actorId: string;
  readonly action: string;
  readonly entityType: string;
  readonly entityId: string;
  readonly patientId: string;
  readonly from?: Date | undefined;
  readonly until?: Date | undefined;
}

/** Place in the listing: time of the record to the microsecond, as text, and id. */
export type AuditCursor = readonly [recordedAt: string, id: string];

const NEWEST_FIRST = { beyond: sql`<`, order: sql`recorded_at DESC, id DESC` };
const OLDEST_FIRST = { beyond: sql`>`, order: sql`recorded_at, id` };

/** The audit trail, newest first. Partitions outside the asked time are not touched. */
export function listAuditEvents(em: EntityManager, listing: AuditListing, page: PageAsk<AuditCursor>) {
  return pageOfEvents(em, listing, { ...page, ...NEWEST_FIRST });
}

/** The same, oldest first. */
export function exportAuditEvents(em: EntityManager, listing: AuditListing, page: PageAsk<AuditCursor>) {
  return pageOfEvents(em, listing, { ...page, ...OLDEST_FIRST });
}

async function pageOfEvents(
  em: EntityManager,
  listing: AuditListing,
  page: PageAsk<AuditCursor> & typeof NEWEST_FIRST,
): Promise<Page<AuditEvent, AuditCursor>> {
  const found = await rows<AuditEvent & { readonly place: string }>(
    em,
    sql`SELECT *, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS place FROM audit_event
        WHERE ${allOf([
          ...conditionsOf(listing),
          page.after && sql`(recorded_at, id) ${page.beyond} (${sql.join(page.after)})`,
        ])} ORDER BY ${page.order} LIMIT ${page.size + 1}`,
  );
  return pageOf(found, page.size, ({ place, id }): AuditCursor => [place, id]);
}

/** What rows must fulfil to be in a listing. */
function conditionsOf(listing: AuditListing) {
  const { actorId, action, entityType, entityId, patientId, from, until } = listing;
  return [
    actorId !== '' && sql`actor_id = ${actorId}`,
    action !== '' && sql`action = ${action}`,
    entityType !== '' && sql`entity_type = ${entityType}`,
    entityId !== '' && sql`entity_id = ${entityId}`,
    patientId !== '' && sql`patient_id = ${patientId}`,
    from && sql`recorded_at >= ${from}`,
    until && sql`recorded_at < ${until}`,
  ];
}
