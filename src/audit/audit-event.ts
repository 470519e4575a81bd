import type { RoleName } from '../caller.ts';

/** One line of the audit trail, as it is read. The table only grows and no entity changes it, so it is no entity. */
export interface AuditEvent {
  readonly id: string;
  readonly recorded_at: Date;
  readonly actor_id: string | null;
  readonly actor_role: RoleName | null;
  readonly session_id: string | null;
  readonly action: string;
  readonly outcome: 'DONE' | 'REFUSED';
  readonly reason: string;
  readonly entity_type: string;
  readonly entity_id: string | null;
  readonly patient_id: string | null;
  readonly request_id: string | null;
  readonly trace_id: string;
  readonly client_address: string;
  readonly instance: string;
  readonly changed_fields: readonly string[];
}
