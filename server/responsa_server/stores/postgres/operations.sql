-- Operations of one tenant (role responsa_app, tenant set).
-- `stage || ''` makes the planner use the primary key. While hardly any operation runs, an index of those that run
-- looks cheaper; soon after, it may hold a hundred thousand.

-- name: insert
INSERT INTO responsa.operation (id, tenant_id, user_id, document_id, version, stage, unchanged)
VALUES (%(id)s, %(tenant)s, %(user)s, %(document)s, %(version)s, %(stage)s, %(unchanged)s)
RETURNING *, EXISTS (SELECT FROM responsa.pause) AS paused;

-- name: get
SELECT * FROM responsa.operation WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: get_shown
-- The collection as the caller calls it.
SELECT o.*, responsa.collection_name(o.collection_id) AS shown, EXISTS (SELECT FROM responsa.pause) AS paused
    FROM responsa.operation AS o WHERE o.tenant_id = %(tenant)s AND o.id = %(id)s;

-- name: seqs
SELECT id, seq FROM responsa.operation WHERE tenant_id = %(tenant)s AND id = ANY (%(ids)s);

-- name: running
SELECT *, EXISTS (SELECT FROM responsa.pause) AS paused FROM responsa.operation
    WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND version = %(version)s AND stage <> 'done'
ORDER BY create_time LIMIT 1;

-- name: list
SELECT *, responsa.collection_name(collection_id) AS shown, EXISTS (SELECT FROM responsa.pause) AS paused FROM responsa.operation
WHERE tenant_id = %(tenant)s AND (%(user)s::uuid IS NULL OR user_id = %(user)s) AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: delete
DELETE FROM responsa.operation WHERE tenant_id = %(tenant)s AND id = %(id)s AND stage = 'done' RETURNING true;

-- name: forget
-- New operations delete some operations that ended long ago, so that the table does not grow for ever.
DELETE FROM responsa.operation AS o
USING (
    SELECT id FROM responsa.operation
    WHERE tenant_id = %(tenant)s AND stage = 'done' AND update_time < now() - interval '30 days'
    ORDER BY update_time LIMIT 64 FOR UPDATE SKIP LOCKED
) AS old
WHERE o.tenant_id = %(tenant)s AND o.id = old.id;

-- name: lock_document
-- Every writer locks the document before the operation's row.
SELECT d.version, d.newest_version, d.collection_id FROM responsa.document AS d
WHERE d.tenant_id = %(tenant)s AND d.id = %(document)s FOR UPDATE;

-- name: end
-- Ends the operation and takes it from its worker.
UPDATE responsa.operation SET epoch = epoch + 1, stage = 'done', update_time = clock_timestamp(),
    error_reason = %(error_reason)s, error_message = %(error_message)s, error_metadata = %(error_metadata)s
WHERE tenant_id = %(tenant)s AND id = %(id)s AND stage || '' <> 'done' AND (%(epoch)s::bigint IS NULL OR epoch = %(epoch)s)
RETURNING document_id, version;

-- name: fail_document
-- The document records the state of its newest version. Its title is again that of the version that is searched, if an
-- update had set another; so later uploads
-- do not keep the title of the update either.
UPDATE responsa.document AS d SET state = 'failed', error_reason = %(error_reason)s, error_message = %(error_message)s,
    error_metadata = %(error_metadata)s, revision = revision + 1, update_time = clock_timestamp(),
    title = coalesce((SELECT v.title FROM responsa.document_version AS v
        WHERE v.tenant_id = d.tenant_id AND v.document_id = d.id AND v.version = d.version), title),
    kept_title = coalesce((SELECT v.declared_title FROM responsa.document_version AS v
        JOIN responsa.document_version AS n ON n.tenant_id = v.tenant_id AND n.document_id = v.document_id AND n.version = %(version)s
        WHERE v.tenant_id = d.tenant_id AND v.document_id = d.id AND v.version = d.version AND d.kept_title <> ''
            AND n.declared_title = d.kept_title), kept_title)
WHERE tenant_id = %(tenant)s AND id = %(document)s AND newest_version = %(version)s;

-- name: forget_document
-- A document of which no version can be searched or is being read, and whose newest version was cancelled.
DELETE FROM responsa.document AS d
WHERE d.tenant_id = %(tenant)s AND d.id = %(document)s AND d.version = 0 AND d.error_reason = %(error_reason)s
    AND NOT EXISTS (SELECT FROM responsa.document_version AS v WHERE v.tenant_id = d.tenant_id AND v.document_id = d.id)
RETURNING true;

-- name: restore_document
UPDATE responsa.document SET state = 'ready', error_reason = NULL, error_message = NULL, error_metadata = NULL
WHERE tenant_id = %(tenant)s AND id = %(document)s AND newest_version = %(version)s AND version > 0;

-- name: drop_version
DELETE FROM responsa.document_version
    WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND version = %(version)s AND state = 'indexing';

-- name: begin
-- A version that is indexed waits for its run.
UPDATE responsa.operation SET epoch = epoch + 1, stage = 'parsing', passages_done = 0, passages_total = 0, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s AND stage || '' <> 'done' AND NOT indexed
RETURNING document_id, version, epoch, seq;

-- name: task
SELECT d.collection_id, d.source_key, v.declared_title, v.uri, v.declared_type, v.media_type, v.size_bytes,
    c.max_tokens, c.overlap_tokens, c.embedding,
    o.canonical_sha256, c.generation_id, CASE WHEN v.size_bytes <= %(most)s THEN v.original END,
    CASE o.chunking WHEN %(chunking)s THEN o.parser END,
    -- The language of most of the collection's newest documents.
    (SELECT mode() WITHIN GROUP (ORDER BY n.language) FILTER (WHERE n.language <> '') FROM (SELECT language FROM responsa.document
        WHERE tenant_id = d.tenant_id AND collection_id = d.collection_id AND version > 0
        ORDER BY create_time DESC, id DESC LIMIT 50) AS n)
FROM responsa.document_version AS v
JOIN responsa.document AS d ON d.tenant_id = v.tenant_id AND d.id = v.document_id
LEFT JOIN responsa.document_version AS o ON o.tenant_id = v.tenant_id AND o.document_id = v.document_id AND o.version = v.reread_of
JOIN responsa.collection AS c ON c.tenant_id = d.tenant_id AND c.id = d.collection_id
WHERE v.tenant_id = %(tenant)s AND v.document_id = %(document)s AND v.version = %(version)s;

-- name: hold
-- This lock is the fence. While this transaction lasts, the claim is valid. A call that ends the operation waits for the lock, and then
-- deletes what this transaction wrote.
SELECT held_by IS NOT NULL FROM responsa.operation
WHERE tenant_id = %(tenant)s AND id = %(id)s AND epoch = %(epoch)s AND stage || '' <> 'done' FOR UPDATE;

-- name: progress
UPDATE responsa.operation SET passages_done = %(done)s, update_time = clock_timestamp() WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: embedding
UPDATE responsa.operation SET stage = 'embedding', passages_total = %(total)s, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: left_out
UPDATE responsa.operation SET counts = %(counts)s, charset = %(charset)s WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: original_piece
SELECT substring(original FROM %(start)s::int + 1 FOR %(count)s::int) FROM responsa.document_version
WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND version = %(version)s;

-- name: parsed
-- The canonical text is stored in addition to the original only if it differs. Returns whether the two are the same.
UPDATE responsa.document_version SET canonical = NULL, canonical_sha256 = %(sha256)s,
    canonical_bytes = %(length)s, title = %(title)s, media_type = %(media_type)s, language = %(language)s, parser = %(parser)s,
    chunking = %(chunking)s,
    author = %(author)s, date = %(date)s, summary = %(summary)s, keywords = %(keywords)s, body_start = %(body_start)s
WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND version = %(version)s
RETURNING sha256 = %(sha256)s;

-- name: canonical
UPDATE responsa.document_version SET canonical = coalesce(%(data)b::bytea, lo_get(%(staged)s::oid))
WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND version = %(version)s;

-- name: indexed
-- total: the number of passages, unless it is stored already; as in the next statements.
UPDATE responsa.operation
    SET indexed = true, indexed_generation = %(generation)s, stage = 'embedding', passages_total = coalesce(%(total)s::int, passages_total),
    passages_done = coalesce(%(total)s::int, passages_total), update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: done
UPDATE responsa.operation SET stage = 'done', passages_total = coalesce(%(total)s::int, passages_total),
    passages_done = coalesce(%(total)s::int, passages_total), update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: same_text
SELECT v.version
FROM responsa.document_version AS n
JOIN responsa.document_version AS v ON v.tenant_id = n.tenant_id AND v.document_id = n.document_id AND v.version = n.reread_of
WHERE n.tenant_id = %(tenant)s AND n.document_id = %(document)s AND n.version = %(version)s;

-- name: done_unchanged
UPDATE responsa.operation SET stage = 'done', unchanged = true, version = %(kept)s, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: document_unchanged
UPDATE responsa.document SET state = 'ready', revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(document)s AND newest_version = %(version)s;

-- name: document_published
-- Ends the operation, too. The column state describes the newest version that was not cancelled: a newer version than
-- this one may be in progress already, or may have failed.
WITH done AS (
    UPDATE responsa.operation SET stage = 'done', passages_total = coalesce(%(total)s::int, passages_total),
        passages_done = coalesce(%(total)s::int, passages_total), update_time = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND id = %(id)s
    RETURNING passages_total
), ready AS (
    UPDATE responsa.document_version AS w SET state = 'ready', passage_count = done.passages_total FROM done
    WHERE w.tenant_id = %(tenant)s AND w.document_id = %(document)s AND w.version = %(version)s
    RETURNING w.*
)
UPDATE responsa.document AS d SET version = v.version, title = v.title, uri = v.uri, media_type = v.media_type, size_bytes = v.size_bytes,
    sha256 = v.sha256, passage_count = v.passage_count, language = v.language, author = v.author, date = v.date, summary = v.summary,
    keywords = v.keywords, revision = d.revision + 1, update_time = clock_timestamp(),
    state = CASE WHEN d.newest_version = v.version OR d.error_reason = %(cancelled)s THEN 'ready' ELSE d.state END,
    error_reason = CASE WHEN d.newest_version = v.version OR d.error_reason = %(cancelled)s THEN NULL ELSE d.error_reason END,
    error_message = CASE WHEN d.newest_version = v.version OR d.error_reason = %(cancelled)s THEN NULL ELSE d.error_message END,
    error_metadata = CASE WHEN d.newest_version = v.version OR d.error_reason = %(cancelled)s THEN NULL ELSE d.error_metadata END
FROM ready AS v
WHERE d.tenant_id = %(tenant)s AND d.id = %(document)s;
