import { randomUUIDv7 as uuid } from 'node:crypto';
import { sql } from '../db/sql.ts';
import type { Sql } from '../db/statement.ts';
import type { AuditRecord } from '../db/unit-of-work.ts';

/**
 * The INSERT of what goes on record, for the statement that writes the change itself: made when `won` is true. One line, or
 * one for each patient whose data was read. `instance` names this process among several. Values of changed fields are
 * never recorded, only their names.
 */
export function recordEvent(instance: string): (record: AuditRecord, won: Sql) => Sql {
  return ({ call, subject, requestId, refusal, changed }, won) => {
    const patients = subject.patientIds?.length ? subject.patientIds : [subject.patientId ?? null];
    return sql`
    INSERT INTO audit_event (id, recorded_at, actor_id, actor_role, session_id, action, outcome, reason, entity_type,
      entity_id, patient_id, request_id, trace_id, client_address, instance, changed_fields, xid)
    SELECT line.id, clock_timestamp(), ${call.caller?.userId ?? subject.actor?.userId ?? null}::uuid,
      ${call.caller?.role ?? subject.actor?.role ?? null}::text, ${call.caller?.sessionId ?? subject.sessionId ?? null}::uuid,
      ${call.method}, ${refusal ? 'REFUSED' : 'DONE'}, ${refusal?.reason ?? subject.purpose ?? ''},
      ${subject.entityType ?? ''}, ${subject.entityId ?? null}::uuid, line.patient_id,
      ${requestId ?? null}::uuid, ${call.traceId}, ${call.clientAddress}, ${instance}, ${changed}::text[],
      pg_current_xact_id()
    FROM unnest(${patients.map(() => uuid())}::uuid[], ${patients}::uuid[]) AS line (id, patient_id) WHERE ${won}`;
  };
}
