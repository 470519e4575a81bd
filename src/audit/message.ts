import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import {
  type AuditEvent as AuditEventMessage,
  AuditEventSchema,
  AuditOutcome,
} from '../../gen/amrutam/admin/v1/admin_pb.ts';
import type { AuditEvent } from './audit-event.ts';

/** A line of the audit trail as administrators see it. */
export function auditEventMessage(event: AuditEvent): AuditEventMessage {
  return create(AuditEventSchema, {
    id: event.id,
    recordTime: timestampFromDate(event.recorded_at),
    actorId: event.actor_id ?? '',
    actorRole: event.actor_role ? Role[event.actor_role] : Role.UNSPECIFIED,
    sessionId: event.session_id ?? '',
    action: event.action,
    outcome: AuditOutcome[event.outcome],
    reason: event.reason,
    entityType: event.entity_type,
    entityId: event.entity_id ?? '',
    patientId: event.patient_id ?? '',
    requestId: event.request_id ?? '',
    traceId: event.trace_id,
    clientAddress: event.client_address,
    instance: event.instance,
    changedFields: [...event.changed_fields],
  });
}
