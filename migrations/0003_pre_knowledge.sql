-- Collections and their readers, documents with all their versions, the operations that take documents in, and what an answer may still show of what it has read.
-- Collections belong to their makers and are shared with readers; a document with a subject is read by that subject alone. All of it belongs to one tenant:
-- responsa_app alone may change these tables, jobs included, which run as responsa_app with the tenant of their row set.

GRANT CREATE ON SCHEMA responsa TO responsa_search; -- a function's owner must be allowed to create in its schema

-- id is what other tables refer to, unique in a tenant. slug is the id that the owner chose, unique among the owner's. Collections have an id with a
-- random end, whether the slug is free or not: an id shows nothing about other people's collections.
CREATE TABLE responsa.collection (
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    id text NOT NULL CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    owner_id uuid NOT NULL,
    display_name text NOT NULL DEFAULT '',
    max_tokens int NOT NULL CHECK (max_tokens BETWEEN 64 AND 2000),
    overlap_tokens int NOT NULL CHECK (overlap_tokens >= 0 AND overlap_tokens * 2 < max_tokens),
    embedding text NOT NULL, -- the model of the active generation
    revision bigint NOT NULL DEFAULT 1, -- with create_time the etag: an id may be used again after a deletion
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    synonyms text NOT NULL DEFAULT '' CHECK (octet_length(synonyms) <= 32768), -- a small file of its owner, which searches read
    synonyms_sha256 bytea NOT NULL DEFAULT '' CHECK (length(synonyms_sha256) IN (0, 32)), -- lets a search see that it has read the file already; '' without synonyms
    kind text NOT NULL DEFAULT 'own' CHECK (kind IN ('own', 'sample', 'docs')), -- people's own documents come first in answers, then samples and Responsa's documentation
    dimensions int NOT NULL DEFAULT 384,
    generation_id uuid, -- where the vectors of the active generation are; NULL for passage_vector
    generation int NOT NULL DEFAULT 1, -- the number of the active generation
    last_generation int NOT NULL DEFAULT 1, -- the greatest number so far
    slug text NOT NULL CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    suggested_questions text[] NOT NULL DEFAULT '{}' -- that its owner suggests to those who may ask it
        CHECK (cardinality(suggested_questions) <= 8 AND char_length(array_to_string(suggested_questions, '')) <= 1600),
    conversation_id uuid, -- of its owner, whose files it holds; NULL for a collection of its own
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES responsa.app_user (tenant_id, id),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES responsa.conversation (tenant_id, id)
);
CREATE INDEX collection_created ON responsa.collection (tenant_id, create_time, id);
CREATE UNIQUE INDEX collection_of_owner ON responsa.collection (tenant_id, owner_id, slug);
CREATE INDEX collection_called ON responsa.collection (tenant_id, slug);
CREATE UNIQUE INDEX collection_of_conversation ON responsa.collection (conversation_id) WHERE conversation_id IS NOT NULL;
CREATE POLICY search_reads ON responsa.collection FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.collection TO responsa_app;
GRANT SELECT (tenant_id, id, owner_id, slug, conversation_id) ON responsa.collection TO responsa_search;

-- A reader of a collection: a user, the members of a group, all users with a role, or (none of these) everyone in the tenant.
CREATE TABLE responsa.collection_reader (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    user_id uuid,
    role text CHECK (role IN ('user', 'admin', 'service')),
    group_id uuid,
    create_time timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(user_id, role, group_id) <= 1),
    UNIQUE NULLS NOT DISTINCT (tenant_id, collection_id, user_id, role, group_id),
    FOREIGN KEY (tenant_id, collection_id) REFERENCES responsa.collection (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, group_id) REFERENCES responsa.user_group (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX collection_reader_user ON responsa.collection_reader (tenant_id, user_id);
CREATE INDEX collection_reader_group ON responsa.collection_reader (tenant_id, group_id) WHERE group_id IS NOT NULL;
CREATE POLICY search_reads ON responsa.collection_reader FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.collection_reader TO responsa_app;
GRANT SELECT (tenant_id, collection_id, user_id, role, group_id) ON responsa.collection_reader TO responsa_search;

SET LOCAL ROLE responsa_search;
-- The collections that the transaction's caller may read, planned once a session. For a widget, neither an owner nor everyone nor a role nor a group counts as a reader.
-- A search sets responsa.files: it finds the files of one conversation at most, whatever it names. '' outside a search.
-- It runs as responsa_search, because the policy of collection calls it.
CREATE FUNCTION responsa.readable_collections() RETURNS text[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        tenant CONSTANT text := responsa.current_tenant();
        acting CONSTANT uuid := responsa.acting_user();
        acting_as CONSTANT text := responsa.acting_role();
    BEGIN
        IF current_setting('responsa.known_reader', true) = responsa.reader() THEN
            RETURN current_setting('responsa.readable')::text[];
        END IF;
        IF acting_as = 'widget' THEN
            RETURN ARRAY(SELECT r.collection_id FROM responsa.collection_reader AS r WHERE r.tenant_id = tenant AND r.user_id = acting);
        END IF;
        RETURN ARRAY(
            SELECT c.id FROM responsa.collection AS c WHERE c.tenant_id = tenant AND c.owner_id = acting
                AND (c.conversation_id IS NULL OR coalesce(current_setting('responsa.files', true), '') IN ('', c.slug))
            UNION
            SELECT r.collection_id FROM responsa.collection_reader AS r WHERE r.tenant_id = tenant AND r.user_id = acting
            UNION
            SELECT r.collection_id FROM responsa.group_member AS m
            JOIN responsa.collection_reader AS r ON r.tenant_id = m.tenant_id AND r.group_id = m.group_id
            WHERE m.tenant_id = tenant AND m.user_id = acting AND m.expire_time > now()
            UNION
            SELECT r.collection_id FROM responsa.collection_reader AS r
            WHERE r.tenant_id = tenant AND r.user_id IS NULL AND r.group_id IS NULL
                AND (r.role = acting_as OR (r.role IS NULL AND acting_as NOT IN ('none', ''))));
    END
    $$;
-- The subjects whose documents the caller may read, '' among them; NULL: all. A widget reads documents without a subject alone.
CREATE FUNCTION responsa.readable_subjects() RETURNS text[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        tenant CONSTANT text := responsa.current_tenant();
        acting CONSTANT uuid := responsa.acting_user();
    BEGIN
        IF responsa.acting_role() IN ('admin', 'service', 'system') THEN
            RETURN NULL;
        END IF;
        IF responsa.acting_role() = 'widget' THEN
            RETURN ARRAY[''];
        END IF;
        IF current_setting('responsa.known_reader', true) = responsa.reader() THEN
            RETURN current_setting('responsa.subjects')::text[];
        END IF;
        RETURN ARRAY['', 'users/' || acting] || ARRAY(SELECT u.subject FROM responsa.app_user AS u WHERE u.tenant_id = tenant AND u.id = acting AND u.subject <> '');
    END
    $$;
-- How many collections the user of a widget's key reads, and the key does not: the user's own, and those shared with everyone or with the user's role or groups. NULL for every other key. Volatile,
-- so that the statement that makes the key gets the number too.
CREATE FUNCTION responsa.unread_by_widget(key uuid) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$
        SELECT (
            SELECT count(*) FROM responsa.collection AS c
            WHERE c.tenant_id = k.tenant_id AND c.conversation_id IS NULL
                AND NOT EXISTS (
                    SELECT FROM responsa.collection_reader AS r WHERE r.tenant_id = c.tenant_id AND r.collection_id = c.id AND r.user_id = k.user_id)
                AND (c.owner_id = k.user_id OR EXISTS (
                    SELECT FROM responsa.collection_reader AS r
                    WHERE r.tenant_id = c.tenant_id AND r.collection_id = c.id AND r.user_id IS NULL AND coalesce(r.role, u.role) = u.role
                        AND (r.group_id IS NULL OR EXISTS (
                            SELECT FROM responsa.group_member AS m WHERE m.tenant_id = r.tenant_id AND m.group_id = r.group_id AND m.user_id = u.id
                                AND m.expire_time > now())))))
        FROM responsa.api_key AS k JOIN responsa.app_user AS u ON u.id = k.user_id
        WHERE k.id = key AND k.widget
    $$;
REVOKE ALL ON FUNCTION responsa.readable_collections, responsa.readable_subjects, responsa.unread_by_widget FROM public;
GRANT EXECUTE ON FUNCTION responsa.readable_collections, responsa.readable_subjects, responsa.unread_by_widget TO responsa_app;
RESET ROLE;

-- The policies named `access` restrict what a tenant's transaction sees to what its caller may read. Each subquery is evaluated once a statement, and the second one only if
-- the first is false: the collections are hashed only if the caller does not read all. Administrators see all collections, because they manage them, but not what is in them,
-- and none of other people's conversations.
CREATE POLICY access ON responsa.collection AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR ((SELECT responsa.acting_role()) = 'admin' AND conversation_id IS NULL) OR id IN (SELECT unnest(responsa.readable_collections())));
CREATE POLICY access ON responsa.collection_reader AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR collection_id IN (SELECT unnest(responsa.readable_collections())));

-- The other name of a collection whose id equals its slug, for readers who have a collection with that slug themselves.
CREATE FUNCTION responsa.other_name(tenant text, id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN left(id, 54) || '-' || left(md5(tenant || '/' || id), 8);
-- The names of all collections that the caller sees. An owner's collections have their slugs; others have their ids.
CREATE FUNCTION responsa.collection_names() RETURNS TABLE (id text, name text)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
        SELECT c.id, CASE
            WHEN (SELECT responsa.unrestricted()) OR c.owner_id = (SELECT responsa.acting_user()) THEN c.slug
            WHEN c.id IN (
                SELECT own.slug FROM responsa.collection AS own
                WHERE own.tenant_id = responsa.current_tenant() AND own.owner_id = (SELECT responsa.acting_user()))
                THEN responsa.other_name(c.tenant_id, c.id)
            ELSE c.id
            END
        FROM responsa.collection AS c WHERE c.tenant_id = responsa.current_tenant()
    $$;
-- The name of one of them.
CREATE FUNCTION responsa.collection_name(wanted text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$ SELECT n.name FROM responsa.collection_names() AS n WHERE n.id = wanted $$;
-- The id of the collection that the caller means by a name; NULL if there is no such collection for the caller. The caller's own collections come first, then the one with
-- this id, then those that their owners call so, the oldest first.
CREATE FUNCTION responsa.named_collection(wanted text) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        found text;
    BEGIN
        SELECT c.id INTO found
        FROM responsa.collection AS c
        WHERE c.tenant_id = responsa.current_tenant() AND (c.id = wanted OR c.slug = wanted)
        ORDER BY (c.owner_id = responsa.acting_user() AND c.slug = wanted) IS NOT TRUE, c.id <> ALL (responsa.readable_collections()), c.id <> wanted,
            c.create_time, c.id
        LIMIT 1;
        IF found IS NULL THEN
            SELECT c.id INTO found FROM responsa.collection AS c
            WHERE c.tenant_id = responsa.current_tenant() AND c.slug = c.id AND responsa.other_name(c.tenant_id, c.id) = wanted;
        END IF;
        RETURN found;
    END
    $$;
-- The same, and NULL too if the caller may not read what is in the collection.
CREATE FUNCTION responsa.readable_collection(wanted text) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        found text := responsa.named_collection(wanted);
    BEGIN
        RETURN CASE WHEN responsa.unrestricted() OR found = ANY (responsa.readable_collections()) THEN found END;
    END
    $$;

-- Generations of a collection: the vectors that one embedding model made of its passages. A collection that was never indexed again may have no row: its one generation is
-- what its own columns say.
CREATE TABLE responsa.collection_generation (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    number int NOT NULL CHECK (number > 0),
    id uuid, -- in generation_vector; NULL: its vectors are in passage_vector
    embedding text NOT NULL,
    dimensions int NOT NULL CHECK (dimensions IN (256, 384, 512, 768, 1024, 1536, 3072)),
    state text NOT NULL CHECK (state IN ('building', 'ready', 'active', 'retired', 'failed')),
    complete boolean NOT NULL DEFAULT false, -- whether it has ever been complete; if not, a failed or cancelled operation leaves nothing of its vectors
    former text CHECK (former IN ('ready', 'retired')), -- while a complete one is being completed again: the state to which a cancellation returns
    activate boolean NOT NULL DEFAULT true, -- whether it becomes active when the present operation has completed it
    passages_done int NOT NULL DEFAULT 0,
    passages_total int NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    activate_time timestamptz,
    PRIMARY KEY (tenant_id, collection_id, number),
    UNIQUE (id),
    CHECK (id IS NOT NULL OR dimensions = 384),
    FOREIGN KEY (tenant_id, collection_id) REFERENCES responsa.collection (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX collection_generation_active ON responsa.collection_generation (tenant_id, collection_id) WHERE state = 'active';
CREATE POLICY access ON responsa.collection_generation AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR collection_id IN (SELECT unnest(responsa.readable_collections())));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.collection_generation TO responsa_app;

-- title, uri, media_type, size_bytes, sha256 and the columns from language to keywords are those of the version that is searched; of the newest while there is no such
-- version. labels, metadata and subject belong to the document, whatever its version.
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
    labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    kept_title text NOT NULL DEFAULT '', -- as an update set it; uploads that state no title keep it
    language text NOT NULL DEFAULT '',
    author text NOT NULL DEFAULT '',
    date timestamptz,
    summary text NOT NULL DEFAULT '',
    keywords text[] NOT NULL DEFAULT '{}',
    -- '' for a document of all readers of its collection. Otherwise a user's name, users/{uuid}, or the subject that users have in app_user.
    subject text NOT NULL DEFAULT '' CHECK (octet_length(subject) <= 200),
    CHECK ((state = 'failed') = (error_reason IS NOT NULL)),
    UNIQUE (tenant_id, collection_id, source_key),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, collection_id) REFERENCES responsa.collection (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE INDEX document_created ON responsa.document (tenant_id, collection_id, create_time, id);
CREATE INDEX document_updated ON responsa.document (tenant_id, collection_id, update_time, id);
CREATE INDEX document_titled ON responsa.document (tenant_id, collection_id, title, id);
CREATE INDEX document_sized ON responsa.document (tenant_id, collection_id, size_bytes, id);
CREATE INDEX document_of_owner ON responsa.document (tenant_id, owner_id);
CREATE INDEX document_of_subject ON responsa.document (tenant_id, subject) WHERE subject <> '';
CREATE POLICY search_reads ON responsa.document FOR SELECT TO responsa_search USING (true);
CREATE POLICY access ON responsa.document AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (collection_id IN (SELECT unnest(responsa.readable_collections()))
        AND (subject = '' OR subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.document TO responsa_app;
GRANT SELECT (tenant_id, id, collection_id, subject) ON responsa.document TO responsa_search;

-- What was sent, never changed, and the text that came of it.
CREATE TABLE responsa.document_version (
    tenant_id text NOT NULL,
    document_id uuid NOT NULL,
    version int NOT NULL CHECK (version > 0),
    declared_title text NOT NULL, -- as the sender states it, or ''
    declared_type text NOT NULL,
    title text NOT NULL, -- declared, or found in the document
    uri text NOT NULL,
    media_type text NOT NULL, -- as sniffed; '' until it is known
    original bytea STORAGE EXTERNAL NOT NULL, -- stored as it is, like the canonical text, so that a slice is read without the rest of it
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    size_bytes bigint NOT NULL,
    canonical bytea STORAGE EXTERNAL, -- UTF-8, what all ranges refer to; NULL: the very bytes of the original, once canonical_sha256 is there
    canonical_sha256 bytea CHECK (length(canonical_sha256) = 32), -- NULL until it is parsed
    canonical_bytes bigint,
    parser text NOT NULL DEFAULT '', -- what made the canonical text, with its version
    chunking int NOT NULL DEFAULT 0, -- the version of the rules that cut the text into passages; 0 until it is parsed
    language text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT 'indexing' CHECK (state IN ('indexing', 'ready', 'failed')),
    passage_count int NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL DEFAULT now(),
    -- The version whose bytes this one reads again, with another parser; NULL for all other versions. If the text and the passages are the same, this version is removed and the operation
    -- ends as unchanged.
    reread_of int CHECK (reread_of < version),
    author text NOT NULL DEFAULT '', -- as the file states it, like date
    date timestamptz,
    summary text NOT NULL DEFAULT '', -- sentences of the canonical text, unless a model wrote it
    keywords text[] NOT NULL DEFAULT '{}',
    body_start int NOT NULL DEFAULT 0, -- of the canonical text, in bytes: before it stand only statements about the document
    PRIMARY KEY (tenant_id, document_id, version),
    FOREIGN KEY (tenant_id, document_id) REFERENCES responsa.document (tenant_id, id) ON DELETE CASCADE
);
-- What belongs to a document or a passage is seen with it: its own policies apply within these conditions.
CREATE POLICY access ON responsa.document_version AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted())
    OR EXISTS (SELECT FROM responsa.document AS d WHERE d.tenant_id = document_version.tenant_id AND d.id = document_version.document_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.document_version TO responsa_app;

-- An operation takes in one version of a document (`ingest`), builds or activates a generation (`reindex`), or is a run of a source (`sync`). document_id of the latter is
-- the operation's own id, which names no document; version is then the generation's number. No foreign key to the document: a caller that waits for the operation learns that the
-- document was deleted.
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
    seq bigint NOT NULL DEFAULT 1, -- every change raises it, so that a caller can watch the operation and resume
    stage_time timestamptz NOT NULL DEFAULT now(), -- when the stage began; the rate of its progress is measured from here
    kind text NOT NULL DEFAULT 'ingest' CHECK (kind IN ('ingest', 'reindex', 'sync')),
    collection_id text CONSTRAINT operation_collection_check CHECK (kind <> 'reindex' OR collection_id IS NOT NULL),
    source_id text CONSTRAINT operation_source_check CHECK (kind <> 'sync' OR source_id IS NOT NULL),
    subject text NOT NULL DEFAULT '', -- the subject for which a run works; '' for all
    confirmed boolean NOT NULL DEFAULT false, -- whether the run may delete many documents
    counts jsonb NOT NULL DEFAULT '{}', -- of a run: documents made, changed, deleted and left, and rows set aside; of an ingestion: what was left out
    cause text NOT NULL DEFAULT '' CHECK (octet_length(cause) <= 200), -- why a notification asked for the run; '' for all other runs
    retry boolean NOT NULL DEFAULT false, -- whether the run makes and deletes nothing but what belongs to the rows that earlier runs set aside
    held_by uuid, -- the run that publishes the version, together with the subject's other documents; NULL if its own ingestion does
    indexed boolean NOT NULL DEFAULT false, -- whether a held version waits with all its passages
    indexed_generation uuid, -- where their vectors are
    charset text NOT NULL DEFAULT '', -- the character set that was guessed for the text of an ingestion, if the guess is in doubt
    CHECK (error_reason IS NULL OR stage = 'done'),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE INDEX operation_of_user ON responsa.operation (tenant_id, user_id, create_time, id);
CREATE INDEX operation_running ON responsa.operation (tenant_id, document_id) WHERE stage <> 'done';
CREATE INDEX operation_ended ON responsa.operation (tenant_id, update_time) WHERE stage = 'done';
CREATE UNIQUE INDEX operation_reindexing ON responsa.operation (tenant_id, collection_id) WHERE kind = 'reindex' AND stage <> 'done';
-- One run of a source works at a time.
CREATE UNIQUE INDEX operation_syncing ON responsa.operation (tenant_id, source_id) WHERE kind = 'sync' AND stage NOT IN ('queued', 'done');
-- One run for a subject waits at a time, for each caller: others may not see it.
CREATE UNIQUE INDEX operation_waiting ON responsa.operation (tenant_id, source_id, subject, user_id) WHERE kind = 'sync' AND stage = 'queued';
CREATE INDEX operation_of_source ON responsa.operation (tenant_id, source_id, create_time DESC) WHERE kind = 'sync';
CREATE INDEX operation_held ON responsa.operation (tenant_id, held_by) WHERE held_by IS NOT NULL AND stage <> 'done';
-- An operation is visible to its caller, to administrators, and to the readers of its document or collection.
CREATE POLICY access ON responsa.operation AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR user_id = (SELECT responsa.acting_user())
    OR collection_id IN (SELECT unnest(responsa.readable_collections()))
    OR EXISTS (SELECT FROM responsa.document AS d WHERE d.tenant_id = operation.tenant_id AND d.id = operation.document_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.operation TO responsa_app;

-- A trigger, because no statement may forget it.
CREATE FUNCTION responsa.operation_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.seq := OLD.seq + 1;
    IF NEW.stage <> OLD.stage OR NEW.epoch <> OLD.epoch THEN
        NEW.stage_time := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER operation_changed BEFORE UPDATE ON responsa.operation FOR EACH ROW EXECUTE FUNCTION responsa.operation_changed();

-- AIP-155: the same id with the same body gives what the first call made, with another body an error. Of any creating call but those of turns.
CREATE TABLE responsa.creation_request (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    request_id uuid NOT NULL,
    kind text NOT NULL, -- what it makes, e.g. 'collection'
    body jsonb NOT NULL, -- the request as the server understood it, contents by their hash
    body_hash bytea NOT NULL CHECK (length(body_hash) = 32),
    resource_name text NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, request_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE INDEX creation_request_age ON responsa.creation_request (tenant_id, create_time);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.creation_request TO responsa_app;

-- Deleted documents that a turn may have read, so that a deletion does not bring back an answer that was withheld. A document counts as if it were still in its collection;
-- see last_reader for collections that were deleted as well.
CREATE TABLE responsa.deleted_document (
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    id uuid NOT NULL,
    collection_id text NOT NULL,
    subject text NOT NULL, -- at the deletion
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX deleted_document_of_collection ON responsa.deleted_document (tenant_id, collection_id);
CREATE POLICY access ON responsa.deleted_document AS RESTRICTIVE TO responsa_app USING ((SELECT responsa.unrestricted()));
CREATE POLICY search_reads ON responsa.deleted_document FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE, UPDATE (subject) ON responsa.deleted_document TO responsa_app;
GRANT SELECT ON responsa.deleted_document TO responsa_search;

-- The readers of a deleted collection at its deletion, and its owner as one of them. user_id, role and group_id: as in collection_reader.
CREATE TABLE responsa.last_reader (
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    collection_id text NOT NULL,
    user_id uuid,
    role text CHECK (role IN ('user', 'admin', 'service')),
    group_id uuid,
    CHECK (num_nonnulls(user_id, role, group_id) <= 1),
    UNIQUE NULLS NOT DISTINCT (tenant_id, collection_id, user_id, role, group_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, group_id) REFERENCES responsa.user_group (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX last_reader_user ON responsa.last_reader (tenant_id, user_id);
CREATE INDEX last_reader_group ON responsa.last_reader (tenant_id, group_id) WHERE group_id IS NOT NULL;
CREATE POLICY access ON responsa.last_reader AS RESTRICTIVE TO responsa_app USING ((SELECT responsa.unrestricted()));
CREATE POLICY search_reads ON responsa.last_reader FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE ON responsa.last_reader TO responsa_app;
GRANT SELECT ON responsa.last_reader TO responsa_search;

SELECT responsa.isolate_tenants(
    'collection', 'collection_reader', 'collection_generation', 'document', 'document_version', 'operation', 'creation_request',
    'deleted_document', 'last_reader');

-- Where a turn's user may no longer read a document that the turn has read, the server shows a refusal in place of the answer; the log stays as it is.

SET LOCAL ROLE responsa_search;
-- Those of the documents that the transaction's caller may not read. A deleted document is among them if the caller could not read it if it were still there.
CREATE FUNCTION responsa.unreadable_documents(wanted uuid[]) RETURNS uuid[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        tenant CONSTANT text := responsa.current_tenant();
        acting CONSTANT uuid := responsa.acting_user();
        acting_as CONSTANT text := responsa.acting_role();
        collections text[];
        subjects text[];
    BEGIN
        IF responsa.unrestricted() OR coalesce(cardinality(wanted), 0) = 0 THEN
            RETURN '{}';
        END IF;
        collections := responsa.readable_collections();
        subjects := responsa.readable_subjects();
        RETURN ARRAY(
            SELECT d.id FROM responsa.document AS d
            WHERE d.tenant_id = tenant AND d.id = ANY (wanted)
                AND (d.collection_id <> ALL (collections) OR (d.subject <> '' AND subjects IS NOT NULL AND d.subject <> ALL (subjects)))
            UNION ALL
            SELECT d.id FROM responsa.deleted_document AS d
            WHERE d.tenant_id = tenant AND d.id = ANY (wanted)
                AND ((d.subject <> '' AND subjects IS NOT NULL AND d.subject <> ALL (subjects)) OR (d.collection_id <> ALL (collections) AND NOT EXISTS (
                    SELECT FROM responsa.last_reader AS r
                    WHERE r.tenant_id = tenant AND r.collection_id = d.collection_id
                        AND (r.user_id = acting
                            OR (acting_as <> 'widget' AND r.group_id IN (
                                SELECT m.group_id FROM responsa.group_member AS m WHERE m.tenant_id = tenant AND m.user_id = acting AND m.expire_time > now()))
                            OR (r.user_id IS NULL AND r.group_id IS NULL
                                AND (r.role = acting_as OR (r.role IS NULL AND acting_as NOT IN ('none', '', 'widget')))))))));
    END
    $$;
REVOKE ALL ON FUNCTION responsa.unreadable_documents FROM public;
GRANT EXECUTE ON FUNCTION responsa.unreadable_documents TO responsa_app, responsa_log;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;

-- The documents that a terminal event names. Their names are ASCII text in it.
CREATE FUNCTION responsa.documents_named(terminal bytea) RETURNS uuid[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT ARRAY(
            SELECT DISTINCT m.found[1]::uuid
            FROM regexp_matches(encode(terminal, 'escape'), 'documents/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})', 'g') AS m (found))
    $$;
-- Those of the turns that have read something that the transaction's caller may not read.
CREATE FUNCTION responsa.withheld_turns(wanted uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        lost uuid[];
    BEGIN
        IF responsa.unrestricted() THEN
            RETURN;
        END IF;
        lost := responsa.unreadable_documents(ARRAY(
            SELECT DISTINCT r.id FROM responsa.turn AS t CROSS JOIN LATERAL unnest(t.read_documents) AS r (id)
            WHERE t.tenant_id = responsa.current_tenant() AND t.id = ANY (wanted)));
        IF cardinality(lost) = 0 THEN
            RETURN;
        END IF;
        RETURN QUERY
            SELECT t.id FROM responsa.turn AS t
            WHERE t.tenant_id = responsa.current_tenant() AND t.id = ANY (wanted) AND t.read_documents && lost;
    END
    $$;
-- Those of the turns that have read something that their users may not read, over all tenants. For turns that run, and for streams that are open. A widget's turn may show what
-- the widget may read, and not what its user may.
CREATE FUNCTION responsa.withheld_from_users(turns uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        reader record;
    BEGIN
        FOR reader IN
            SELECT t.tenant_id, t.user_id, t.widget, array_agg(t.id) AS ids FROM responsa.turn AS t
            WHERE t.id = ANY (turns) AND cardinality(t.read_documents) > 0
            GROUP BY t.tenant_id, t.user_id, t.widget
        LOOP
            PERFORM set_config('responsa.tenant_id', reader.tenant_id, true), set_config('responsa.user_id', reader.user_id::text, true),
                set_config('responsa.role', CASE WHEN reader.widget THEN 'widget' ELSE coalesce(responsa.role_of(reader.user_id), 'none') END, true);
            RETURN QUERY SELECT found.id FROM responsa.withheld_turns(reader.ids) AS found (id);
        END LOOP;
    END
    $$;
