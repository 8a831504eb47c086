-- Runs of the sources of one tenant (role responsa_app, tenant set). For `stage || ''`, see operations.sql.

-- name: lock_source
-- Whatever adds a run, or decides which run works next, holds this lock. The rows that runs write refer to the source
-- and do not wait for it.
SELECT id FROM responsa.source WHERE tenant_id = %(tenant)s AND id = %(source)s FOR NO KEY UPDATE;

-- name: open
-- The runs of a source that have not ended: how many there are, and the one for all subjects.
SELECT count(*)::int AS runs, (array_agg(id) FILTER (WHERE subject = ''))[1] AS whole FROM responsa.operation
WHERE tenant_id = %(tenant)s AND source_id = %(source)s AND kind = 'sync' AND stage <> 'done';

-- name: insert
-- A run that waits for the same subject has seen no row yet, so it does the work of this one too. epoch: 0 until the run has a job.
INSERT INTO responsa.operation (id, tenant_id, user_id, document_id, version, stage, kind, source_id, subject,
    confirmed, cause, retry, epoch)
VALUES (%(id)s, %(tenant)s, %(user)s, %(id)s, 0, 'queued', 'sync', %(source)s, %(subject)s, %(confirmed)s, %(cause)s, %(retry)s, %(epoch)s)
ON CONFLICT (tenant_id, source_id, subject, user_id) WHERE kind = 'sync' AND stage = 'queued'
    DO UPDATE SET confirmed = operation.confirmed OR excluded.confirmed
RETURNING *, EXISTS (SELECT FROM responsa.pause) AS paused;

-- name: scheduled
SELECT * FROM responsa.source WHERE tenant_id = %(tenant)s AND schedule_id = %(schedule)s;

-- name: take_schedule
-- Only one server finds the time that was due.
UPDATE responsa.source SET next_run_time = %(next_run)s
    WHERE tenant_id = %(tenant)s AND schedule_id = %(schedule)s AND next_run_time = %(due)s
RETURNING id, user_id;

-- name: source_of
SELECT source_id FROM responsa.operation WHERE tenant_id = %(tenant)s AND id = %(id)s AND kind = 'sync' AND stage <> 'done';

-- name: named
SELECT *, EXISTS (SELECT FROM responsa.pause) AS paused FROM responsa.operation
    WHERE tenant_id = %(tenant)s AND id = ANY (%(ids)s) ORDER BY source_id, id;

-- name: lock_sources_of
-- The source of a run; all sources if the record of the run was deleted.
SELECT s.id FROM responsa.source AS s
WHERE s.tenant_id = %(tenant)s
    AND s.id = coalesce((SELECT r.source_id FROM responsa.operation AS r WHERE r.tenant_id = %(tenant)s AND r.id = %(id)s), s.id)
ORDER BY s.id FOR NO KEY UPDATE;

-- name: wake
-- The run that has waited longest, unless a run of the source works or the run has a job: two jobs would take the run from each other.
UPDATE responsa.operation AS n SET epoch = 1
FROM (
    SELECT DISTINCT ON (w.source_id) w.id FROM responsa.operation AS w
    WHERE w.tenant_id = %(tenant)s AND w.kind = 'sync' AND w.stage = 'queued'
        AND w.source_id = coalesce((SELECT r.source_id FROM responsa.operation AS r
            WHERE r.tenant_id = %(tenant)s AND r.id = %(id)s), w.source_id)
        AND NOT EXISTS (
            SELECT FROM responsa.operation AS o
            WHERE o.tenant_id = w.tenant_id AND o.source_id = w.source_id AND o.kind = 'sync' AND o.stage NOT IN ('queued', 'done'))
    ORDER BY w.source_id, w.create_time, w.id
) AS first
WHERE n.tenant_id = %(tenant)s AND n.id = first.id AND n.stage = 'queued' AND n.epoch = 0
RETURNING n.id, n.subject;

-- name: failed_rows
SELECT id, kind, key, problem, create_time FROM responsa.source_failure
WHERE tenant_id = %(tenant)s AND source_id = %(source)s AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: begin
UPDATE responsa.operation AS o
    SET epoch = o.epoch + 1, stage = CASE o.stage WHEN 'queued' THEN 'parsing' ELSE o.stage END, update_time = clock_timestamp()
WHERE o.tenant_id = %(tenant)s AND o.id = %(id)s AND o.stage <> 'done' AND (o.stage <> 'queued' OR NOT EXISTS (
    SELECT FROM responsa.operation AS w
    WHERE w.tenant_id = o.tenant_id AND w.source_id = o.source_id AND w.kind = 'sync' AND w.stage NOT IN ('queued', 'done')))
RETURNING o.epoch, o.stage, o.subject, o.confirmed, o.retry;

-- name: maker
-- The administrator in whose name the documents of a run are made: the caller or, if a service called, the administrator of the source.
SELECT m.id FROM responsa.operation AS o
JOIN responsa.app_user AS u ON u.tenant_id = o.tenant_id AND u.id = o.user_id
LEFT JOIN responsa.source AS s ON s.tenant_id = o.tenant_id AND s.id = o.source_id
JOIN responsa.app_user AS m ON m.tenant_id = o.tenant_id AND m.id = CASE u.role WHEN 'service' THEN s.user_id ELSE u.id END
WHERE o.tenant_id = %(tenant)s AND o.id = %(id)s AND m.role = 'admin' AND m.disable_time IS NULL;

-- name: known
SELECT s.kind, s.key, s.digest, s.document_id, d.subject, s.operation_id IS NOT NULL AS pending, s.fetched, d.version > 0 AS searched
FROM responsa.source_document AS s JOIN responsa.document AS d ON d.tenant_id = s.tenant_id AND d.id = s.document_id
WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s;

-- name: planned
UPDATE responsa.operation SET counts = %(counts)s, passages_done = 0, passages_total = %(changes)s, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: forget_waiting
-- subject: NULL for all. What waits to be published together is made again: the upload of the same bytes finds the version that waits.
UPDATE responsa.source_document AS s SET next_digest = NULL, next_metadata = NULL, gone = false, operation_id = NULL
FROM responsa.document AS d
WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s AND (s.next_digest IS NOT NULL OR s.gone)
    AND d.tenant_id = s.tenant_id AND d.id = s.document_id AND (%(subject)s::text IS NULL OR d.subject = %(subject)s);

-- name: gone
UPDATE responsa.source_document AS s SET gone = true
FROM unnest(%(gone_kinds)s::text[], %(gone_keys)s::text[]) AS g (kind, key)
WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s AND s.kind = g.kind AND s.key = g.key;

-- name: refetched
UPDATE responsa.source_document AS s SET fetched = f.fetched
FROM unnest(%(kinds)s::text[], %(keys)s::text[], %(fetched)s::jsonb[]) AS f (kind, key, fetched)
WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s AND s.kind = f.kind AND s.key = f.key;

-- name: forget_failures
-- Of failures without a key, only the subject says which ones they are.
DELETE FROM responsa.source_failure AS f USING unnest(%(kinds)s::text[], %(keys)s::text[], %(subjects)s::text[]) AS n (kind, key, subject)
WHERE f.tenant_id = %(tenant)s AND f.source_id = %(source)s AND f.kind = n.kind AND f.key = n.key
    AND (n.key <> '' OR f.subject = n.subject);

-- name: forget_earlier_failures
-- What this attempt has set aside is younger than its claim. A run for one subject replaces only the failures of the
-- rows that it sets aside again or makes. A retry keeps those
-- without a key: it does not know which row it was, so it makes no document of it.
DELETE FROM responsa.source_failure AS f USING responsa.operation AS o
WHERE o.tenant_id = %(tenant)s AND o.id = %(id)s AND o.subject = '' AND f.tenant_id = o.tenant_id
    AND f.source_id = o.source_id AND f.create_time < o.stage_time
    AND (f.key <> '' OR NOT o.retry);

-- name: insert_failures
INSERT INTO responsa.source_failure (id, tenant_id, source_id, kind, key, problem, subject)
SELECT f.id, %(tenant)s, %(source)s, f.kind, f.key, f.problem, f.subject
FROM unnest(%(ids)s::uuid[], %(kinds)s::text[], %(keys)s::text[], %(problems)s::text[], %(subjects)s::text[]) AS f (id,
    kind, key, problem, subject);

-- name: failed_keys
SELECT DISTINCT kind, key FROM responsa.source_failure WHERE tenant_id = %(tenant)s AND source_id = %(source)s;

-- name: wait
UPDATE responsa.operation SET stage = 'embedding', update_time = clock_timestamp() WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: ended
-- The ingestions that have ended, or whose record was deleted. all: also those of other subjects, which an earlier run began.
UPDATE responsa.source_document AS s SET operation_id = NULL, digest = CASE WHEN e.error_message IS NULL THEN s.digest ELSE '' END
FROM (
    SELECT w.kind, w.key, o.error_message, d.subject, d.version FROM responsa.source_document AS w
    JOIN responsa.operation AS r ON r.tenant_id = w.tenant_id AND r.id = %(id)s
    JOIN responsa.document AS d ON d.tenant_id = w.tenant_id AND d.id = w.document_id
    LEFT JOIN responsa.operation AS o ON o.tenant_id = w.tenant_id AND o.id = w.operation_id
    WHERE w.tenant_id = %(tenant)s AND w.source_id = %(source)s AND w.operation_id IS NOT NULL AND w.next_digest IS NULL AND NOT w.gone
        AND (o.id IS NULL OR o.stage = 'done') AND (%(all)s OR r.subject = '' OR d.subject = r.subject)
) AS e
WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s AND s.kind = e.kind AND s.key = e.key
RETURNING s.kind, s.key, e.error_message, e.subject, e.version = 0 AS new;

-- name: waiting
-- The documents of the run that are not published or deleted yet, and those of them that are not indexed or deleted yet.
SELECT count(*), count(*) FILTER (WHERE s.gone OR (o.stage <> 'done' AND NOT o.indexed))
FROM responsa.source_document AS s
JOIN responsa.operation AS r ON r.tenant_id = s.tenant_id AND r.id = %(id)s
JOIN responsa.document AS d ON d.tenant_id = s.tenant_id AND d.id = s.document_id
LEFT JOIN responsa.operation AS o ON o.tenant_id = s.tenant_id AND o.id = s.operation_id
WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s AND (s.operation_id IS NOT NULL OR s.gone)
    AND (r.subject = '' OR d.subject = r.subject);

-- name: ready_subjects
-- The subjects of which no version is still being indexed.
SELECT d.subject
FROM responsa.source_document AS s
JOIN responsa.document AS d ON d.tenant_id = s.tenant_id AND d.id = s.document_id
LEFT JOIN responsa.operation AS o ON o.tenant_id = s.tenant_id AND o.id = s.operation_id
WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s AND (s.next_digest IS NOT NULL OR s.gone)
GROUP BY d.subject
HAVING bool_and(s.gone OR o.id IS NULL OR o.stage = 'done' OR o.indexed)
LIMIT %(most)s;

-- name: lock_documents
-- Every writer locks documents before operations; several in the order of their ids.
SELECT d.id FROM responsa.document AS d
WHERE d.tenant_id = %(tenant)s AND d.subject = ANY (%(subjects)s) AND d.id IN (
    SELECT s.document_id FROM responsa.source_document AS s
    WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s AND (s.next_digest IS NOT NULL OR s.gone))
ORDER BY d.id FOR UPDATE OF d;

-- name: lock_operations
SELECT o.id FROM responsa.operation AS o
WHERE o.tenant_id = %(tenant)s AND o.stage <> 'done' AND o.id IN (
    SELECT s.operation_id FROM responsa.source_document AS s
    WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s AND s.document_id = ANY (%(documents)s))
ORDER BY o.id FOR UPDATE OF o;

-- name: together
SELECT s.kind, s.key, s.digest, s.next_digest, s.next_metadata, s.gone, s.document_id, d.subject, d.version AS searched,
    d.collection_id, c.embedding,
    o.id AS operation_id, o.epoch, o.version, o.stage <> 'done' AS waits, o.indexed, o.indexed_generation, o.error_message
FROM responsa.source_document AS s
JOIN responsa.document AS d ON d.tenant_id = s.tenant_id AND d.id = s.document_id
JOIN responsa.collection AS c ON c.tenant_id = d.tenant_id AND c.id = d.collection_id
LEFT JOIN responsa.operation AS o ON o.tenant_id = s.tenant_id AND o.id = s.operation_id
WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s AND s.document_id = ANY (%(documents)s)
    AND (s.next_digest IS NOT NULL OR s.gone)
ORDER BY d.subject, s.kind, s.key;

-- name: set_metadata
UPDATE responsa.document SET metadata = %(metadata)s, revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(document)s AND metadata <> %(metadata)s;

-- name: published
UPDATE responsa.source_document AS s SET digest = p.digest, next_digest = NULL, next_metadata = NULL, gone = false, operation_id = NULL
FROM unnest(%(kinds)s::text[], %(keys)s::text[], %(digests)s::bytea[]) AS p (kind, key, digest)
WHERE s.tenant_id = %(tenant)s AND s.source_id = %(source)s AND s.kind = p.kind AND s.key = p.key;

-- name: index_again
-- Another generation of the collection became active since these versions were indexed.
UPDATE responsa.operation AS o SET indexed = false, stage = 'queued', epoch = o.epoch + 1, update_time = clock_timestamp()
FROM responsa.document AS d, responsa.collection AS c
WHERE o.tenant_id = %(tenant)s AND o.held_by = %(id)s AND o.stage <> 'done' AND o.indexed AND d.tenant_id = o.tenant_id
    AND d.id = o.document_id
    AND c.tenant_id = d.tenant_id AND c.id = d.collection_id AND o.indexed_generation IS DISTINCT FROM c.generation_id
RETURNING o.id;

-- name: held
SELECT id, document_id FROM responsa.operation WHERE tenant_id = %(tenant)s AND held_by = %(id)s AND stage <> 'done' LIMIT %(most)s;

-- name: still_held
-- The document is locked.
SELECT * FROM responsa.operation
    WHERE tenant_id = %(tenant)s AND id = %(operation)s AND held_by = %(id)s AND stage || '' <> 'done' FOR UPDATE;

-- name: earlier
SELECT DISTINCT o.held_by FROM responsa.operation AS o JOIN responsa.operation AS r ON r.tenant_id = o.tenant_id AND r.id = o.held_by
WHERE o.tenant_id = %(tenant)s AND o.held_by IS NOT NULL AND o.stage <> 'done' AND o.held_by <> %(id)s
    AND r.source_id = %(source)s AND r.stage = 'done';

-- name: settled
UPDATE responsa.operation SET passages_done = greatest(0, passages_total - %(unread)s), update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s AND passages_done <> greatest(0, passages_total - %(unread)s);

-- name: count_failed
-- What was planned, and does not happen. new: how many of those that failed would have been created. undeleted: of those to delete.
UPDATE responsa.operation SET counts = counts || (
        SELECT jsonb_object_agg(c.name, greatest(0, coalesce((counts ->> c.name)::int, 0) + c.more))
        FROM (VALUES ('failed', %(failed)s::int), ('created', -%(new)s::int), ('updated', %(new)s::int - %(failed)s::int),
            ('deleted', -%(undeleted)s::int)) AS c (name, more)),
    update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: end
UPDATE responsa.operation SET stage = 'done', update_time = clock_timestamp() WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: fail
UPDATE responsa.operation SET epoch = epoch + 1, stage = 'done', update_time = clock_timestamp(),
    error_reason = %(error_reason)s, error_message = %(error_message)s, error_metadata = %(error_metadata)s
WHERE tenant_id = %(tenant)s AND id = %(id)s AND stage <> 'done' RETURNING source_id;

-- name: fail_all
UPDATE responsa.operation SET epoch = epoch + 1, stage = 'done', update_time = clock_timestamp(),
    error_reason = %(error_reason)s, error_message = %(error_message)s, error_metadata = %(error_metadata)s
WHERE tenant_id = %(tenant)s AND source_id = %(source)s AND kind = 'sync' AND stage <> 'done' RETURNING id;
