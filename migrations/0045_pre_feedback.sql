-- Feedback on answers; the subjects of the rows that sources set aside; finding the newest runs of a source.
SET LOCAL lock_timeout = '10s';

CREATE TABLE responsa.message_feedback (
    tenant_id text NOT NULL,
    message_id uuid NOT NULL,
    rating text NOT NULL CHECK (rating IN ('up', 'down')),
    comment text NOT NULL DEFAULT '' CHECK (octet_length(comment) <= 2048),
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, message_id),
    FOREIGN KEY (tenant_id, message_id) REFERENCES responsa.message (tenant_id, id) ON DELETE CASCADE
);
ALTER TABLE responsa.message_feedback ENABLE ROW LEVEL SECURITY;
ALTER TABLE responsa.message_feedback FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.message_feedback TO responsa_app
    USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant());
CREATE POLICY tenant_erasure ON responsa.message_feedback TO CURRENT_USER USING (tenant_id = responsa.current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.message_feedback TO responsa_app;

-- '' if the subject could not be read, and for rows that were set aside before this column existed: every run sets them aside again.
ALTER TABLE responsa.source_failure ADD COLUMN subject text NOT NULL DEFAULT '';

CREATE INDEX operation_of_source ON responsa.operation (tenant_id, source_id, create_time DESC) WHERE kind = 'sync';
-- NULL if there was no run in the last 30 days: later, operations are deleted.
CREATE FUNCTION responsa.newest_run(tenant text, source text) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT o.id FROM responsa.operation AS o WHERE o.tenant_id = tenant AND o.source_id = source AND o.kind = 'sync' ORDER BY o.create_time DESC, o.id DESC LIMIT 1);

CREATE INDEX document_of_subject ON responsa.document (tenant_id, subject) WHERE subject <> '';
