import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Role } from '../../gen/amrutam/access/v1/access_pb.ts';
import {
  type AuditEvent as AuditEventMessage,
  AuditEventSchema,
  AuditFlawKind,
  AuditOutcome,
  type VerifyAuditLogResponse,
  VerifyAuditLogResponseSchema,
} from '../../gen/amrutam/admin/v1/admin_pb.ts';
import type { AuditEvent } from './audit-event.ts';
import type { SealFigures } from './seal-figures.ts';
import type { Verified } from './verify-seals.ts';

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

/** What was found of a stretch of the audit trail, and how far it is sealed. */
export function verificationMessage(found: Verified & { readonly figures: SealFigures }): VerifyAuditLogResponse {
  const { head, waiting, unsealed } = found.figures;
  const { problem } = found;
  return create(VerifyAuditLogResponseSchema, {
    firstSeal: found.first ?? 0,
    lastSeal: found.last ?? 0,
    rows: BigInt(found.rows),
    nextSeal: found.next ?? 0,
    flaw: problem && {
      kind: AuditFlawKind[problem.flaw],
      seal: problem.seal,
      description: problem.what,
      eventIds: [...problem.eventIds],
    },
    headSeal: head?.number ?? 0,
    headRoot: head?.root ?? '',
    sealedTime: head && timestampFromDate(head.sealedAt),
    unsealedRows: BigInt(unsealed),
    oldestUnsealedTime: waiting && timestampFromDate(waiting.since),
  });
}
