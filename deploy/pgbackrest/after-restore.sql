-- What restore.sh runs in each database of ours before anybody can connect. :words says what was restored.
\set ON_ERROR_STOP on
SELECT to_regclass('refresh_token') IS NOT NULL AND to_regclass('audit_event') IS NOT NULL AS ours \gset
\if :ours
BEGIN;
-- Sessions that were ended after the moment would live again, and so would refresh tokens that were used or stolen since.
UPDATE session SET revoked_at = now() WHERE revoked_at IS NULL AND :end_sessions;
INSERT INTO audit_event (id, recorded_at, action, outcome, reason, entity_type, trace_id, client_address, instance, changed_fields, xid)
VALUES (gen_random_uuid(), clock_timestamp(), 'Restore', 'DONE', :'words', 'database', '', '', 'restore', '{}', pg_current_xact_id());
COMMIT;
\endif
