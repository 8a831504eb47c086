-- Runs for different subjects wait for each other, and a notification begins runs.
SET LOCAL lock_timeout = '10s';

-- cause: why a notification asked for the run; '' for all other runs.
ALTER TABLE responsa.operation
    ADD COLUMN cause text NOT NULL DEFAULT '' CONSTRAINT operation_cause_check CHECK (octet_length(cause) <= 200);
DROP INDEX responsa.operation_syncing;
-- One run of a source works at a time.
CREATE UNIQUE INDEX operation_syncing ON responsa.operation (tenant_id, source_id) WHERE kind = 'sync' AND stage NOT IN ('queued', 'done');
-- One run for a subject waits at a time, for each caller: others may not see it.
CREATE UNIQUE INDEX operation_waiting ON responsa.operation (tenant_id, source_id, subject, user_id) WHERE kind = 'sync' AND stage = 'queued';

-- The administrator who made the source or changed it last. Runs that no administrator began are made in this name. NULL: the user was deleted, or the source is older than this column.
ALTER TABLE responsa.source
    ADD COLUMN user_id uuid,
    ADD FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE SET NULL (user_id);
