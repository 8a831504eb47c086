-- Collections, documents with all their versions, the operations that take them in, and the request ids of creating calls.
-- All of it is one tenant's: responsa_app alone may touch these tables, jobs included, which run as responsa_app with the tenant of their row set.

CREATE TABLE responsa.collection (
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    id text NOT NULL CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    owner_id uuid NOT NULL,
    display_name text NOT NULL DEFAULT '',
    max_tokens int NOT NULL CHECK (max_tokens BETWEEN 64 AND 2000),
    overlap_tokens int NOT NULL CHECK (overlap_tokens >= 0 AND overlap_tokens * 2 < max_tokens),
    embedding text NOT NULL, -- the model of its vectors
    revision bigint NOT NULL DEFAULT 1, -- with create_time the etag: an id may be used again after a deletion
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE INDEX collection_created ON responsa.collection (tenant_id, create_time, id);

-- title, uri, media_type, size_bytes and sha256 are those of the version that is searched; of the newest while there is none.
CREATE TABLE responsa.document (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    owner_id uuid NOT NULL, -- who brought its first version
    source_key text NOT NULL CHECK (octet_length(source_key) BETWEEN 1 AND 1024),
    title text NOT NULL,
    uri text NOT NULL,
    media_type text NOT NULL,
    version int NOT NULL DEFAULT 0 CHECK (version BETWEEN 0 AND newest_version), -- the one that is searched; 0: none yet
    newest_version int NOT NULL DEFAULT 1,
    state text NOT NULL CHECK (state IN ('indexing', 'ready', 'failed')), -- of the newest version
    error_reason text,
    error_message text,
    error_metadata jsonb,
    size_bytes bigint NOT NULL,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    passage_count int NOT NULL DEFAULT 0,
    revision bigint NOT NULL DEFAULT 1, -- the etag
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'failed') = (error_reason IS NOT NULL)),
    UNIQUE (tenant_id, collection_id, source_key),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, collection_id) REFERENCES responsa.collection (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE INDEX document_created ON responsa.document (tenant_id, collection_id, create_time, id);
CREATE INDEX document_updated ON responsa.document (tenant_id, collection_id, update_time, id);

-- What was sent, never changed, and the text that came of it.
CREATE TABLE responsa.document_version (
    tenant_id text NOT NULL,
    document_id uuid NOT NULL,
    version int NOT NULL CHECK (version > 0),
    declared_title text NOT NULL, -- as told by the sender; '' when not told
    declared_type text NOT NULL,
    title text NOT NULL, -- declared, or found in the document
    uri text NOT NULL,
    media_type text NOT NULL, -- as sniffed; '' until it is known
    original bytea NOT NULL,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    size_bytes bigint NOT NULL,
    canonical bytea, -- UTF-8, what all ranges refer to; NULL: the very bytes of the original, once canonical_sha256 is there
    canonical_sha256 bytea CHECK (length(canonical_sha256) = 32), -- NULL until it is parsed
    canonical_bytes bigint,
    parser text NOT NULL DEFAULT '', -- what made the canonical text, with its version
    language text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT 'indexing' CHECK (state IN ('indexing', 'ready', 'failed')),
    passage_count int NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, document_id, version),
    FOREIGN KEY (tenant_id, document_id) REFERENCES responsa.document (tenant_id, id) ON DELETE CASCADE
);
-- Stored as it is, so that a slice is read without the rest of it.
ALTER TABLE responsa.document_version ALTER COLUMN original SET STORAGE EXTERNAL, ALTER COLUMN canonical SET STORAGE EXTERNAL;

-- Taking in one version. No foreign key to the document: who waits for it learns that the document was deleted.
CREATE TABLE responsa.operation (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    document_id uuid NOT NULL,
    version int NOT NULL,
    stage text NOT NULL CHECK (stage IN ('queued', 'parsing', 'embedding', 'done')),
    passages_done int NOT NULL DEFAULT 0,
    passages_total int NOT NULL DEFAULT 0,
    error_reason text,
    error_message text,
    error_metadata jsonb,
    unchanged boolean NOT NULL DEFAULT false,
    epoch bigint NOT NULL DEFAULT 0, -- the fence: a worker writes only while it is the one that it began with
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    CHECK (error_reason IS NULL OR stage = 'done'),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE INDEX operation_of_user ON responsa.operation (tenant_id, user_id, create_time, id);
CREATE INDEX operation_running ON responsa.operation (tenant_id, document_id) WHERE stage <> 'done';
CREATE INDEX operation_ended ON responsa.operation (tenant_id, update_time) WHERE stage = 'done';

-- AIP-155: the same id with the same body gives what the first call made, with another body an error. Of any creating call but those of turns.
CREATE TABLE responsa.creation_request (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    request_id uuid NOT NULL,
    kind text NOT NULL, -- what it makes, e.g. 'collection'
    body jsonb NOT NULL, -- the request as meant, contents by their hash
    body_hash bytea NOT NULL CHECK (length(body_hash) = 32),
    resource_name text NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, request_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE INDEX creation_request_age ON responsa.creation_request (tenant_id, create_time);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['collection', 'document', 'document_version', 'operation', 'creation_request'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.%I TO responsa_app', name);
    END LOOP;
END
$$;
