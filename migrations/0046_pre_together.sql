-- The documents of a subject are published together: their new versions wait, indexed but not searchable, until a run publishes all of them in one transaction.
SET LOCAL lock_timeout = '10s';

-- held_by: the run that publishes the version; NULL if its own ingestion does. indexed: whether a held version waits with all its passages. indexed_generation: where their vectors are.
ALTER TABLE responsa.operation
    ADD COLUMN held_by uuid,
    ADD COLUMN indexed boolean NOT NULL DEFAULT false,
    ADD COLUMN indexed_generation uuid;
CREATE INDEX operation_held ON responsa.operation (tenant_id, held_by) WHERE held_by IS NOT NULL AND stage <> 'done';

-- next_digest, next_metadata: the digest and the metadata from the publication on; NULL if the document does not wait. gone: whether it is deleted then.
ALTER TABLE responsa.source_document
    ADD COLUMN next_digest bytea,
    ADD COLUMN next_metadata jsonb,
    ADD COLUMN gone boolean NOT NULL DEFAULT false;
CREATE INDEX source_document_together ON responsa.source_document (tenant_id, source_id) WHERE next_digest IS NOT NULL OR gone;
