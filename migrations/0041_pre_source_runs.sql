-- What the runs of sources have made, and the rows that they set aside.
SET LOCAL lock_timeout = '10s';

-- A run is an operation of the kind `sync`. Its document_id is its own id, which names no document. subject: '' for all. confirmed: whether it may delete many documents.
-- counts: the number of documents that it made, changed, deleted and left, and of rows that it set aside.
ALTER TABLE responsa.operation
    DROP CONSTRAINT operation_kind_check,
    DROP CONSTRAINT operation_collection_check,
    ADD CONSTRAINT operation_kind_check CHECK (kind IN ('ingest', 'reindex', 'sync')),
    ADD CONSTRAINT operation_collection_check CHECK (kind <> 'reindex' OR collection_id IS NOT NULL),
    ADD COLUMN source_id text CONSTRAINT operation_source_check CHECK (kind <> 'sync' OR source_id IS NOT NULL),
    ADD COLUMN subject text NOT NULL DEFAULT '',
    ADD COLUMN confirmed boolean NOT NULL DEFAULT false,
    ADD COLUMN counts jsonb NOT NULL DEFAULT '{}';
-- One run of a source at a time.
CREATE UNIQUE INDEX operation_syncing ON responsa.operation (tenant_id, source_id) WHERE kind = 'sync' AND stage <> 'done';

-- The documents of a source. digest: of all that the row made; '' if the document must be made again. operation_id: the ingestion for which the run waits. The row goes with the
-- document, so the next run makes a document again that somebody deleted.
CREATE TABLE responsa.source_document (
    tenant_id text NOT NULL,
    source_id text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    digest bytea NOT NULL,
    document_id uuid NOT NULL,
    operation_id uuid,
    PRIMARY KEY (tenant_id, source_id, kind, key),
    FOREIGN KEY (tenant_id, source_id) REFERENCES responsa.source (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, document_id) REFERENCES responsa.document (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX source_document_document ON responsa.source_document (tenant_id, document_id);
CREATE INDEX source_document_waiting ON responsa.source_document (tenant_id, source_id) WHERE operation_id IS NOT NULL;

-- Rows that made no document in the newest run that read them. key: '' if not even the key could be read.
CREATE TABLE responsa.source_failure (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    source_id text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL DEFAULT '',
    problem text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, source_id) REFERENCES responsa.source (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX source_failure_of_source ON responsa.source_failure (tenant_id, source_id, create_time, id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['source_document', 'source_failure'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('CREATE POLICY tenant_erasure ON responsa.%I TO CURRENT_USER USING (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.%I TO responsa_app', name);
    END LOOP;
END
$$;
