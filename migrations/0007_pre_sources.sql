-- Sources, which map the rows of a database, the pages of websites or the files of folders to documents, and the notifications about their runs. A run is an operation of the kind `sync`.

-- connection, collection: what the mapping names; for a folder, its kind and its collection. No reference to the collection, because several people may call their collections alike, and the collection may be deleted.
CREATE TABLE responsa.source (
    id text NOT NULL CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    display_name text NOT NULL DEFAULT '' CHECK (octet_length(display_name) <= 200),
    mapping text NOT NULL CHECK (octet_length(mapping) <= 131072),
    connection text NOT NULL,
    collection text NOT NULL,
    revision bigint NOT NULL DEFAULT 1, -- counts the changes; the etag is made of it
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    user_id uuid, -- the administrator who made the source or changed it last, in whose name runs that no administrator began are made; NULL: the user was deleted
    schedule_id uuid, -- of the job that waits for next_run_time; a new schedule gets another id, so the job of an earlier one finds no source and ends. NULL without a schedule.
    next_run_time timestamptz,
    folder jsonb, -- the fields of a ConnectedFolder; NULL for a mapping
    sealed_password bytea NOT NULL DEFAULT '', -- of the folder, encrypted under the installation's secret; '' for none
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT source_folder_check CHECK ((folder IS NULL) = (mapping <> '')),
    CONSTRAINT source_schedule_check CHECK ((schedule_id IS NULL) = (next_run_time IS NULL)),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE SET NULL (user_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.source TO responsa_app;

-- The newest run of a source; NULL if there was no run in the last 30 days: later, operations are deleted.
CREATE FUNCTION responsa.newest_run(tenant text, source text) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT o.id FROM responsa.operation AS o WHERE o.tenant_id = tenant AND o.source_id = source AND o.kind = 'sync' ORDER BY o.create_time DESC, o.id DESC LIMIT 1);

-- The documents of a source. The row goes with the document, so the next run makes a document again that somebody deleted. The documents of a subject are published together:
-- their new versions wait, indexed but not searchable, until a run publishes all of them in one transaction.
CREATE TABLE responsa.source_document (
    tenant_id text NOT NULL,
    source_id text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    digest bytea NOT NULL, -- of all that the row made; '' if the document must be made again
    document_id uuid NOT NULL,
    operation_id uuid, -- the ingestion for which the run waits
    next_digest bytea, -- the digest from the publication on, like the metadata; NULL if the document does not wait
    next_metadata jsonb,
    gone boolean NOT NULL DEFAULT false, -- whether it is deleted then
    fetched jsonb, -- how the page of a website was fetched: its addresses, and the headers for conditional requests. NULL for rows of databases
    PRIMARY KEY (tenant_id, source_id, kind, key),
    FOREIGN KEY (tenant_id, source_id) REFERENCES responsa.source (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, document_id) REFERENCES responsa.document (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX source_document_document ON responsa.source_document (tenant_id, document_id);
CREATE INDEX source_document_waiting ON responsa.source_document (tenant_id, source_id) WHERE operation_id IS NOT NULL;
CREATE INDEX source_document_together ON responsa.source_document (tenant_id, source_id) WHERE next_digest IS NOT NULL OR gone;
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.source_document TO responsa_app;

-- Rows that made no document in the newest run that read them.
CREATE TABLE responsa.source_failure (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    source_id text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL DEFAULT '', -- '' if not even the key could be read
    problem text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    subject text NOT NULL DEFAULT '', -- '' if the subject could not be read
    FOREIGN KEY (tenant_id, source_id) REFERENCES responsa.source (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX source_failure_of_source ON responsa.source_failure (tenant_id, source_id, create_time, id);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.source_failure TO responsa_app;

-- What is sent to the webhooks of the owner's files. A row with the webhook '' is an event that administrators, or webhooks about ingestions, learn by a notice: 'waiting' until
-- the notice is sent. Ingestions have the source ''.
CREATE TABLE responsa.delivery (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    webhook text NOT NULL, -- the name of its file
    operation_id uuid NOT NULL,
    source_id text NOT NULL,
    event text NOT NULL CHECK (event IN ('source.failed', 'source.confirmation_wanted', 'source.succeeded', 'ingestion.failed')),
    body text NOT NULL CHECK (octet_length(body) <= 8192), -- the JSON as it is sent; it holds no text of a document
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts int NOT NULL DEFAULT 0,
    status int NOT NULL DEFAULT 0, -- that of the newest response; 0 without one
    problem text NOT NULL DEFAULT '', -- why the newest attempt failed
    create_time timestamptz NOT NULL DEFAULT now(),
    attempt_time timestamptz,
    UNIQUE (tenant_id, operation_id, webhook)
);
CREATE INDEX delivery_of_tenant ON responsa.delivery (tenant_id, create_time, id);
CREATE INDEX delivery_unsent ON responsa.delivery (tenant_id, event, source_id) WHERE webhook = '' AND state = 'waiting';
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.delivery TO responsa_app;

-- Notices, at most one an hour of each: one row for each kind of event of a source, and one for the failed ingestions of the tenant.
CREATE TABLE responsa.notice (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    event text NOT NULL,
    source_id text NOT NULL,
    waits boolean NOT NULL DEFAULT true, -- whether a job sends the next notice
    send_time timestamptz, -- that of the newest notice
    UNIQUE (tenant_id, event, source_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.notice TO responsa_app;

SELECT responsa.isolate_tenants('source', 'source_document', 'source_failure', 'delivery', 'notice');
