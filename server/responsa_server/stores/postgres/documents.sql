-- Documents and versions of one tenant (role responsa_app, tenant set).
-- Every writer locks in this order: collection, document, operation, statistics.

-- name: make_collection
INSERT INTO responsa.collection (tenant_id, id, slug, owner_id, display_name, max_tokens, overlap_tokens, embedding,
    dimensions, generation_id)
VALUES (%(tenant)s, %(key)s, %(collection)s, %(user)s, '', %(max_tokens)s, %(overlap_tokens)s, %(embedding)s,
    %(dimensions)s, %(generation)s)
ON CONFLICT DO NOTHING;

-- name: own_collection
-- The caller's own collection with this name. It cannot be deleted until this transaction ends.
SELECT id, owner_id FROM responsa.collection
WHERE tenant_id = %(tenant)s AND owner_id = %(user)s AND slug = %(collection)s FOR KEY SHARE;

-- name: hold_collection
-- The collection cannot be deleted until this transaction ends.
SELECT id, owner_id FROM responsa.collection
    WHERE tenant_id = %(tenant)s AND id = (SELECT responsa.named_collection(%(collection)s)) FOR KEY SHARE;

-- name: insert
INSERT INTO responsa.document (
    id, tenant_id, collection_id, owner_id, source_key, title, uri, media_type, state, size_bytes, sha256, labels, metadata, subject)
VALUES (
    %(id)s, %(tenant)s, %(key)s, %(user)s, %(source_key)s, %(title)s, %(uri)s, %(media_type)s, 'indexing', %(size)s, %(sha256)s,
    %(labels)s, %(metadata)s, %(subject)s)
ON CONFLICT (tenant_id, collection_id, source_key) DO NOTHING
RETURNING id;

-- name: lock_by_key
SELECT d.id, %(user)s IN (d.owner_id, c.owner_id) AS owns, d.kept_title, d.subject,
    (%(labels)s = '{}'::jsonb OR d.labels = %(labels)s) AND (%(metadata)s = '{}'::jsonb OR d.metadata = %(metadata)s) AS described
FROM responsa.document AS d
JOIN responsa.collection AS c ON c.tenant_id = d.tenant_id AND c.id = d.collection_id
WHERE d.tenant_id = %(tenant)s AND d.collection_id = %(key)s AND d.source_key = %(source_key)s FOR UPDATE OF d;

-- name: newest
-- This is a separate statement, because a statement that waits for the lock still sees the versions from before the
-- wait. In the state ready, the searchable
-- version is the newest one that is stored: later ones had the same text and were removed.
SELECT d.newest_version, d.state, v.version, v.sha256, v.declared_title, v.uri, v.media_type,
    CASE v.chunking WHEN %(chunking)s THEN v.parser END
FROM responsa.document AS d
LEFT JOIN responsa.document_version AS v ON v.tenant_id = d.tenant_id AND v.document_id = d.id
    AND v.version = CASE d.state WHEN 'ready' THEN d.version ELSE d.newest_version END
WHERE d.tenant_id = %(tenant)s AND d.id = %(id)s;

-- name: lock_versions
SELECT revision, version, newest_version, state FROM responsa.document WHERE tenant_id = %(tenant)s AND id = %(id)s FOR UPDATE;

-- name: outdated
SELECT d.id, d.version, d.owner_id FROM responsa.document AS d
JOIN responsa.document_version AS v ON v.tenant_id = d.tenant_id AND v.document_id = d.id AND v.version = d.version
WHERE d.tenant_id = %(tenant)s AND d.version > 0 AND d.newest_version = d.version AND d.state = 'ready'
    AND (v.parser <> ALL (%(parsers)s::text[]) OR v.chunking <> %(chunking)s)
    -- A document of a format that this server does not have would become one of another format.
    AND split_part(v.parser, ' ', 1) IN (SELECT split_part(one, ' ', 1) FROM unnest(%(parsers)s::text[]) AS one)
LIMIT %(most)s FOR UPDATE OF d SKIP LOCKED;

-- name: copy_version
-- A new version of the bytes and the description of an earlier one. reread_of: see the column. title: NULL for the
-- title of the earlier one.
INSERT INTO responsa.document_version (
    tenant_id, document_id, version, declared_title, declared_type, title, uri, media_type, original, sha256, size_bytes, reread_of)
SELECT tenant_id, document_id, %(version)s, coalesce(%(title)s::text, declared_title), declared_type,
    coalesce(%(title)s::text, title), uri, media_type,
    original, sha256, size_bytes, %(reread_of)s
FROM responsa.document_version
WHERE tenant_id = %(tenant)s AND document_id = %(id)s AND version = %(source)s AND (state = 'ready' OR %(title)s::text IS NOT NULL)
RETURNING size_bytes;

-- name: begin_copy
UPDATE responsa.document
    SET newest_version = %(version)s, state = 'indexing', error_reason = NULL, error_message = NULL, error_metadata = NULL,
    revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: lock
SELECT revision, collection_id FROM responsa.document WHERE tenant_id = %(tenant)s AND id = %(id)s FOR UPDATE;

-- name: insert_version
WITH noted AS (
    INSERT INTO responsa.usage_event (tenant_id, user_id, time, kind, collection)
    SELECT d.tenant_id, %(user)s, now(), 'upload', d.collection_id FROM responsa.document AS d
    JOIN responsa.collection AS c ON c.tenant_id = d.tenant_id AND c.id = d.collection_id
    WHERE d.tenant_id = %(tenant)s AND d.id = %(id)s AND c.conversation_id IS NULL
)
INSERT INTO responsa.document_version (
    tenant_id, document_id, version, declared_title, declared_type, title, uri, media_type, original, sha256, size_bytes)
VALUES (
    %(tenant)s, %(id)s, %(version)s, %(declared_title)s, %(declared_type)s, %(title)s, %(uri)s, %(media_type)s,
    coalesce(%(data)b::bytea, lo_get(%(staged)s::oid)), %(sha256)s, %(size)s);

-- name: describe
-- What the caller leaves empty stays.
UPDATE responsa.document
    SET labels = coalesce(nullif(%(labels)s, '{}'::jsonb), labels), metadata = coalesce(nullif(%(metadata)s, '{}'::jsonb), metadata),
    revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: update
UPDATE responsa.document SET labels = coalesce(%(labels)s, labels), metadata = coalesce(%(metadata)s, metadata),
    title = coalesce(%(title)s, title), kept_title = coalesce(%(title)s, kept_title), revision = revision + 1,
        update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: version_to_retitle
-- The newest version that has its bytes, and the number of the next version. A version that failed has no bytes.
SELECT v.version, v.declared_title, d.newest_version + 1
FROM responsa.document AS d
JOIN responsa.document_version AS v ON v.tenant_id = d.tenant_id AND v.document_id = d.id AND v.version IN (d.version, d.newest_version)
WHERE d.tenant_id = %(tenant)s AND d.id = %(id)s
ORDER BY v.version DESC LIMIT 1;

-- name: begin_version
-- If a version is searchable, the document's row describes that version until a newer version is searchable.
UPDATE responsa.document
    SET newest_version = %(version)s, state = 'indexing', error_reason = NULL, error_message = NULL, error_metadata = NULL,
    title = CASE version WHEN 0 THEN %(title)s ELSE title END, kept_title = CASE %(stated_title)s WHEN '' THEN kept_title ELSE '' END,
    uri = CASE version WHEN 0 THEN %(uri)s ELSE uri END,
    media_type = CASE version WHEN 0 THEN %(media_type)s ELSE media_type END,
    size_bytes = CASE version WHEN 0 THEN %(size)s ELSE size_bytes END,
    sha256 = CASE version WHEN 0 THEN %(sha256)s ELSE sha256 END,
    revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: set_subject
UPDATE responsa.document SET subject = %(subject)s WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: shown
-- A file of which no version could be read is shown to the user who brought it.
(d.version > 0 OR d.state <> 'failed' OR d.owner_id = responsa.acting_user() OR responsa.unrestricted())

-- name: get
SELECT d.*, responsa.collection_name(d.collection_id) AS collection FROM responsa.document AS d
    WHERE tenant_id = %(tenant)s AND id = %(id)s AND {shown};

-- name: managed
SELECT d.*, responsa.collection_name(d.collection_id) AS collection,
    (SELECT c.owner_id FROM responsa.collection AS c WHERE c.tenant_id = d.tenant_id AND c.id = d.collection_id) AS collection_owner
FROM responsa.document AS d WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: copied_bytes
SELECT coalesce(max(v.size_bytes), 0)::bigint
FROM responsa.document AS d
JOIN responsa.document_version AS v ON v.tenant_id = d.tenant_id AND v.document_id = d.id
    AND (v.version = %(version)s::int OR (%(version)s::int IS NULL AND v.version IN (d.version, d.newest_version)))
WHERE d.tenant_id = %(tenant)s AND d.id = %(id)s;

-- name: find
SELECT d.*, responsa.collection_name(d.collection_id) AS collection FROM responsa.document AS d
    WHERE tenant_id = %(tenant)s AND id = ANY (%(ids)s) AND {shown};

-- name: hidden
-- Those that the transaction's caller may not read, deleted ones too.
SELECT unnest(responsa.unreadable_documents(%(ids)s::uuid[]));

-- name: list
SELECT d.*, (SELECT responsa.collection_name(%(key)s)) AS collection FROM responsa.document AS d
WHERE tenant_id = %(tenant)s AND collection_id = %(key)s AND {shown} AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: end_operations
UPDATE responsa.operation SET epoch = epoch + 1, stage = 'done', update_time = clock_timestamp(),
    error_reason = %(error_reason)s, error_message = %(error_message)s,
    error_metadata = jsonb_build_object('operation', 'operations/' || id)
WHERE tenant_id = %(tenant)s AND document_id = %(id)s AND stage <> 'done'
RETURNING id;

-- name: delete
WITH gone AS (
    DELETE FROM responsa.document WHERE tenant_id = %(tenant)s AND id = %(id)s RETURNING tenant_id, id, collection_id, subject, version
)
INSERT INTO responsa.deleted_document (tenant_id, id, collection_id, subject)
    SELECT tenant_id, id, collection_id, subject FROM gone WHERE version > 0;

-- name: canonical
SELECT v.version, substring(coalesce(v.canonical, v.original) FROM %(start)s::int + 1 FOR %(count)s::int), v.canonical_bytes
FROM responsa.document_version AS v
JOIN responsa.document AS d ON d.tenant_id = v.tenant_id AND d.id = v.document_id
WHERE v.tenant_id = %(tenant)s AND v.document_id = %(id)s AND v.version = coalesce(%(version)s::int, d.version)
    AND v.canonical_sha256 IS NOT NULL;

-- name: any_version
SELECT v.document_id, v.version, v.title, v.media_type, v.size_bytes, v.sha256, v.parser, v.language, v.passage_count, v.state,
    v.version = d.version AS searchable, v.create_time, coalesce(v.canonical_bytes, 0) AS text_bytes, d.source_key
FROM responsa.document_version AS v
JOIN responsa.document AS d ON d.tenant_id = v.tenant_id AND d.id = v.document_id
WHERE v.tenant_id = %(tenant)s AND v.document_id = %(id)s AND {shown}

-- name: version
{any_version}
    AND v.version = coalesce(%(version)s::int, nullif(d.version, 0), d.newest_version);

-- name: versions
{any_version} AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: original
SELECT substring(original FROM %(start)s::int + 1 FOR %(count)s::int) FROM responsa.document_version
WHERE tenant_id = %(tenant)s AND document_id = %(id)s AND version = %(version)s;

-- name: sources
SELECT d.version, CASE WHEN v.canonical_sha256 IS NOT NULL AND w.range_end <= v.canonical_bytes
    THEN substring(coalesce(v.canonical, v.original) FROM w.range_start + 1 FOR w.range_end - w.range_start) END
FROM unnest(%(documents)s::uuid[], %(versions)s::int[], %(starts)s::int[], %(ends)s::int[])
    WITH ORDINALITY AS w (document_id, version, range_start, range_end, place)
LEFT JOIN responsa.document AS d ON d.tenant_id = %(tenant)s AND d.id = w.document_id
LEFT JOIN responsa.document_version AS v ON v.tenant_id = %(tenant)s AND v.document_id = w.document_id AND v.version = w.version
ORDER BY w.place;

-- name: needed_passages
-- Those that answers cite, and those that the milestones of running turns name, as text.
WITH named AS MATERIALIZED (
    SELECT DISTINCT match[1]::uuid AS id FROM responsa.turn_checkpoint,
        regexp_matches(encode(state, 'escape'), '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'g') AS match
    WHERE tenant_id = %(tenant)s AND position(%(id)s::uuid::text::bytea IN state) > 0
)
SELECT passage_id FROM responsa.citation WHERE tenant_id = %(tenant)s AND document_id = %(id)s AND version < %(version)s
UNION
SELECT p.id FROM responsa.passage AS p JOIN named ON named.id = p.id
WHERE p.tenant_id = %(tenant)s AND p.document_id = %(id)s AND p.version < %(version)s;

-- name: lock_searched_version
SELECT version FROM responsa.document WHERE tenant_id = %(tenant)s AND id = %(id)s FOR UPDATE;

-- name: with_vectors
SELECT d.newest_version, ARRAY(SELECT d.version UNION SELECT o.version FROM responsa.operation AS o
    WHERE o.tenant_id = d.tenant_id AND o.document_id = d.id AND o.stage <> 'done')
FROM responsa.document AS d WHERE d.tenant_id = %(tenant)s AND d.id = %(id)s;

-- name: prune_versions
-- Deletes only versions that are older than the searchable version. Of these, the newest ones, those of which passages
-- were needed, and versions in progress stay.
DELETE FROM responsa.document_version AS v
WHERE v.tenant_id = %(tenant)s AND v.document_id = %(id)s AND v.version < %(version)s
    AND v.version NOT IN (
        SELECT k.version FROM responsa.document_version AS k
        WHERE k.tenant_id = %(tenant)s AND k.document_id = %(id)s AND k.version < %(version)s AND k.state = 'ready'
        ORDER BY k.version DESC LIMIT %(kept)s)
    AND NOT EXISTS (SELECT FROM responsa.passage AS p WHERE p.tenant_id = v.tenant_id AND p.document_id = v.document_id
        AND p.version = v.version)
    AND NOT EXISTS (
        SELECT FROM responsa.operation AS o
        WHERE o.tenant_id = v.tenant_id AND o.document_id = v.document_id AND o.version = v.version AND o.stage <> 'done');

-- name: made_by_run
-- An upload may find the version that an earlier run, or an earlier attempt, held back: from now on this run publishes
-- it. A document that waits for others keeps its digest until it is
-- published. A retry needs the failures until all its documents are made: an attempt after a kill makes the documents of the same rows.
WITH held AS (
    UPDATE responsa.operation SET held_by = %(id)s
    WHERE tenant_id = %(tenant)s AND id = %(operation)s AND stage || '' <> 'done' AND (%(together)s OR held_by IS NOT NULL)
    RETURNING id
), forgotten AS (
    DELETE FROM responsa.source_failure WHERE tenant_id = %(tenant)s AND source_id = %(source)s AND kind = %(kind)s AND key = %(key)s
        AND NOT (SELECT retry FROM responsa.operation WHERE tenant_id = %(tenant)s AND id = %(id)s)
)
INSERT INTO responsa.source_document AS s (tenant_id, source_id, kind, key, digest, next_digest, next_metadata,
    document_id, operation_id, fetched)
SELECT %(tenant)s, %(source)s, %(kind)s, %(key)s, CASE WHEN w.waits THEN ''::bytea ELSE %(digest)s::bytea END, CASE
    WHEN w.waits THEN %(digest)s::bytea END,
    CASE WHEN w.waits THEN %(metadata)s::jsonb END, %(document)s, %(operation)s, %(fetched)s
FROM (SELECT %(together)s OR EXISTS (SELECT FROM held) AS waits) AS w
ON CONFLICT (tenant_id, source_id, kind, key) DO UPDATE
    SET digest = CASE WHEN excluded.next_digest IS NULL THEN excluded.digest WHEN s.document_id = excluded.document_id
        THEN s.digest ELSE '' END,
        next_digest = excluded.next_digest, next_metadata = excluded.next_metadata, gone = false,
            document_id = excluded.document_id, operation_id = excluded.operation_id,
        fetched = excluded.fetched;
