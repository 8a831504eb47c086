-- What is sent to the webhooks of the owner's files, and which runs administrators got a mail about.
SET LOCAL lock_timeout = '10s';

-- webhook: the name of its file; '' for the mail to administrators. body: the JSON as it is sent; it holds no text of a document. problem: why the newest attempt failed.
-- status: that of the newest response; 0 without one.
CREATE TABLE responsa.delivery (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    webhook text NOT NULL,
    operation_id uuid NOT NULL,
    source_id text NOT NULL,
    event text NOT NULL CHECK (event IN ('source.failed', 'source.confirmation_wanted', 'source.succeeded')),
    body text NOT NULL CHECK (octet_length(body) <= 8192),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts int NOT NULL DEFAULT 0,
    status int NOT NULL DEFAULT 0,
    problem text NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL DEFAULT now(),
    attempt_time timestamptz,
    UNIQUE (tenant_id, operation_id, webhook)
);
CREATE INDEX delivery_of_tenant ON responsa.delivery (tenant_id, create_time, id);
ALTER TABLE responsa.delivery ENABLE ROW LEVEL SECURITY;
ALTER TABLE responsa.delivery FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.delivery TO responsa_app
    USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.delivery TO responsa_app;
CREATE POLICY tenant_erasure ON responsa.delivery TO CURRENT_USER USING (tenant_id = responsa.current_tenant());

ALTER TABLE responsa.mail DROP CONSTRAINT mail_kind_check;
ALTER TABLE responsa.mail ADD CONSTRAINT mail_kind_check CHECK (kind IN ('register', 'reset', 'change_email', 'email_changed', 'password_changed', 'collections_received', 'run_failed', 'run_stopped'));
