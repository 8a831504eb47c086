-- Generations of collections of one tenant (role responsa_app, tenant set).

-- name: counted_passages
SELECT c.tenant_id, c.collection_id, (c.passages + coalesce((SELECT sum(o.passages) FROM responsa.subject_stat AS o
    WHERE o.tenant_id = c.tenant_id AND o.collection_id = c.collection_id), 0))::bigint AS passages
FROM responsa.collection_stat AS c

-- name: generations
-- The number of passages of the active generation is that of the passages that searches can find.
SELECT g.collection_id, g.number, g.embedding, g.dimensions, g.state, g.passages_done, g.passages_total, g.create_time,
    g.update_time, g.activate_time
FROM responsa.collection_generation AS g
WHERE g.tenant_id = %(tenant)s AND g.collection_id = ANY (%(collections)s) AND g.state <> 'active'
    AND (%(number)s::int IS NULL OR g.number = %(number)s)
UNION ALL
SELECT c.id, c.generation, c.embedding, c.dimensions, 'active', coalesce(s.passages, 0)::int, coalesce(s.passages, 0)::int,
    coalesce(g.create_time, c.create_time), coalesce(g.update_time, c.create_time), coalesce(g.activate_time, c.create_time)
FROM responsa.collection AS c
LEFT JOIN responsa.collection_generation AS g ON g.tenant_id = c.tenant_id AND g.collection_id = c.id AND g.number = c.generation
LEFT JOIN ({counted_passages}) AS s ON s.tenant_id = c.tenant_id AND s.collection_id = c.id
WHERE c.tenant_id = %(tenant)s AND c.id = ANY (%(collections)s) AND (%(number)s::int IS NULL OR c.generation = %(number)s)
ORDER BY 2 DESC;

-- name: lock_collection
-- Uploads to the collection go on, but it cannot be deleted, and no other transaction changes its generations.
SELECT generation FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = %(collection)s FOR NO KEY UPDATE;

-- name: running
-- The operation of a generation, or of any generation.
SELECT id FROM responsa.operation
WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND kind = 'reindex' AND stage <> 'done'
    AND (%(number)s::int IS NULL OR version = %(number)s);

-- name: keep_active
-- A collection that was never indexed again has no row for its generation.
INSERT INTO responsa.collection_generation (
    tenant_id, collection_id, number, id, embedding, dimensions, state, complete, create_time, activate_time)
SELECT tenant_id, id, generation, generation_id, embedding, dimensions, 'active', true, create_time, create_time
FROM responsa.collection
WHERE tenant_id = %(tenant)s AND id = %(collection)s
ON CONFLICT (tenant_id, collection_id, number) DO NOTHING;

-- name: forget_failed
DELETE FROM responsa.collection_generation WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND state = 'failed';

-- name: next_number
UPDATE responsa.collection SET last_generation = last_generation + 1
    WHERE tenant_id = %(tenant)s AND id = %(collection)s RETURNING last_generation;

-- name: insert_generation
INSERT INTO responsa.collection_generation (tenant_id, collection_id, number, id, embedding, dimensions, state, activate)
VALUES (%(tenant)s, %(collection)s, %(number)s, %(generation)s, %(embedding)s, %(dimensions)s, 'building', %(activate)s);

-- name: build_again
UPDATE responsa.collection_generation SET former = state, state = 'building', activate = true, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND number = %(number)s AND state IN ('ready', 'retired')
RETURNING true;

-- name: insert_operation
-- The document_id of such an operation is its own id; see the table.
INSERT INTO responsa.operation (id, tenant_id, user_id, document_id, version, stage, kind, collection_id, passages_done, passages_total)
SELECT %(id)s, %(tenant)s, %(user)s, %(id)s, %(number)s, %(stage)s::text, 'reindex', %(collection)s,
    CASE %(stage)s::text WHEN 'done' THEN p.passages ELSE 0 END, p.passages
FROM coalesce((SELECT s.passages FROM ({counted_passages}) AS s
    WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s), 0) AS p (passages)
RETURNING *, EXISTS (SELECT FROM responsa.pause) AS paused;

-- name: claim
-- The last column is the time from which the rate was measured so far.
WITH earlier AS (SELECT stage_time FROM responsa.operation WHERE tenant_id = %(tenant)s AND id = %(id)s FOR UPDATE)
UPDATE responsa.operation SET epoch = epoch + 1, stage = 'embedding', update_time = clock_timestamp()
FROM earlier
WHERE tenant_id = %(tenant)s AND id = %(id)s AND kind = 'reindex' AND stage <> 'done'
RETURNING collection_id, version, epoch, earlier.stage_time;

-- name: task
SELECT id, embedding, activate FROM responsa.collection_generation
WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND number = %(number)s AND state = 'building';

-- name: count_passages
-- At the beginning of the first attempt: the number of passages to embed, and of those that have vectors.
WITH counted AS (
    SELECT count(*) AS total, count(*) FILTER (WHERE CASE WHEN %(generation)s::uuid IS NULL
            THEN EXISTS (SELECT FROM responsa.passage_vector AS v WHERE v.passage_id = p.id)
            ELSE EXISTS (SELECT FROM responsa.generation_vector AS v
                WHERE v.passage_id = p.id AND v.generation_id = %(generation)s) END) AS done
    FROM responsa.passage AS p
    WHERE p.tenant_id = %(tenant)s AND p.collection_id = %(collection)s AND p.live
), generation AS (
    UPDATE responsa.collection_generation AS g SET passages_done = c.done, passages_total = c.total
    FROM counted AS c
    WHERE g.tenant_id = %(tenant)s AND g.collection_id = %(collection)s AND g.number = %(number)s
)
UPDATE responsa.operation AS o SET passages_done = c.done, passages_total = c.total FROM counted AS c
    WHERE o.tenant_id = %(tenant)s AND o.id = %(id)s
RETURNING o.passages_done;

-- name: total_passages
-- At the beginning of a later attempt, which goes on with the counts: the number of passages may have changed
-- meanwhile. The rate is measured from the same time as before.
WITH counted AS (
    SELECT s.passages FROM ({counted_passages}) AS s WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s
), generation AS (
    UPDATE responsa.collection_generation AS g SET passages_done = least(g.passages_done, c.passages), passages_total = c.passages
    FROM counted AS c
    WHERE g.tenant_id = %(tenant)s AND g.collection_id = %(collection)s AND g.number = %(number)s
)
UPDATE responsa.operation AS o
    SET passages_done = least(o.passages_done, c.passages), passages_total = c.passages, stage_time = %(rate_time)s
FROM counted AS c WHERE o.tenant_id = %(tenant)s AND o.id = %(id)s
RETURNING o.passages_done;

-- name: missing_in_first
SELECT p.id FROM responsa.passage AS p
WHERE p.tenant_id = %(tenant)s AND p.collection_id = %(collection)s AND p.live AND (%(after)s::uuid IS NULL OR p.id > %(after)s)
    AND NOT EXISTS (SELECT FROM responsa.passage_vector AS w WHERE w.passage_id = p.id)
ORDER BY p.id LIMIT %(limit)s;

-- name: missing
SELECT p.id FROM responsa.passage AS p
WHERE p.tenant_id = %(tenant)s AND p.collection_id = %(collection)s AND p.live AND (%(after)s::uuid IS NULL OR p.id > %(after)s)
    AND NOT EXISTS (SELECT FROM responsa.generation_vector AS w WHERE w.passage_id = p.id AND w.generation_id = %(generation)s)
ORDER BY p.id LIMIT %(limit)s;

-- name: live
-- since: only passages of documents that changed after this time.
SELECT p.id FROM responsa.passage AS p
WHERE p.tenant_id = %(tenant)s AND p.collection_id = %(collection)s AND p.live AND (%(after)s::uuid IS NULL OR p.id > %(after)s)
    AND (%(since)s::timestamptz IS NULL OR p.document_id IN (
        SELECT id FROM responsa.document WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND update_time >= %(since)s))
ORDER BY p.id LIMIT %(limit)s;

-- name: time
SELECT clock_timestamp();

-- name: changed
SELECT FROM responsa.document
    WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND update_time >= %(since)s AND version > 0 LIMIT 1;

-- name: unembedded
-- The header of a table: see `before` in passages.sql.
SELECT p.id, p.document_id, p.version, p.title, p.uri, p.byte_start, p.byte_end, p.text, p.headings, p.outline, p.name, p.language,
    CASE WHEN (p.places -> 0 ->> 1)::int < p.byte_start
    THEN substring(coalesce(v.canonical, v.original) FROM (p.places -> 0 ->> 0)::int + 1 FOR
        (p.places -> 0 ->> 1)::int - (p.places -> 0 ->> 0)::int)
        || '\x0a'::bytea
    END
FROM responsa.passage AS p
LEFT JOIN responsa.document_version AS v ON v.tenant_id = p.tenant_id AND v.document_id = p.document_id AND v.version = p.version
WHERE p.tenant_id = %(tenant)s AND p.id = ANY (%(ids)s::uuid[])
ORDER BY p.id;

-- name: embeddings
SELECT id, embedding, generation_id FROM responsa.collection WHERE tenant_id = %(tenant)s ORDER BY id;

-- name: stored_pieces
-- The pieces of passages, from the collection's active generation.
SELECT v.passage_id, v.kind, v.byte_start, v.byte_end
FROM responsa.collection AS c
CROSS JOIN LATERAL (
    SELECT passage_id, ordinal, kind, byte_start, byte_end FROM responsa.passage_vector
        WHERE c.generation_id IS NULL AND passage_id = ANY (%(ids)s::uuid[])
    UNION ALL
    SELECT passage_id, ordinal, kind, byte_start, byte_end FROM responsa.generation_vector
    WHERE generation_id = c.generation_id AND passage_id = ANY (%(ids)s::uuid[])
) AS v
WHERE c.tenant_id = %(tenant)s AND c.id = %(collection)s AND v.kind <> 'window'
ORDER BY v.passage_id, v.ordinal;

-- name: hold_passages
-- These passages cannot be deleted until this transaction ends.
SELECT id, document_id, version FROM responsa.passage
    WHERE tenant_id = %(tenant)s AND id = ANY (%(ids)s::uuid[]) AND live ORDER BY id FOR KEY SHARE;

-- name: remove_vectors
WITH first AS (
    DELETE FROM responsa.passage_vector
    WHERE tenant_id = %(tenant)s AND %(generation)s::uuid IS NULL AND passage_id = ANY (%(ids)s::uuid[])
)
DELETE FROM responsa.generation_vector
WHERE tenant_id = %(tenant)s AND generation_id = %(generation)s::uuid AND passage_id = ANY (%(ids)s::uuid[]);

-- name: hold_collection
-- It cannot be deleted until this transaction ends.
SELECT true FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = %(collection)s FOR KEY SHARE;

-- name: hold_active
-- This generation stays active until this transaction ends.
SELECT true FROM responsa.collection
WHERE tenant_id = %(tenant)s AND id = %(collection)s AND generation_id IS NOT DISTINCT FROM %(generation)s::uuid FOR SHARE;

-- name: progress
-- stage_time is the time at which the first passage would have been begun at the measured rate.
WITH generation AS (
    UPDATE responsa.collection_generation
        SET passages_done = least(passages_done + %(count)s, passages_total), update_time = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND number = %(number)s
)
UPDATE responsa.operation SET passages_done = least(passages_done + %(count)s, passages_total), update_time = clock_timestamp(),
    stage_time = clock_timestamp() - make_interval(secs => %(seconds)s) *
        ((passages_done + %(count)s)::float8 / greatest(passages_done + %(count)s - %(since)s, 1))
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: retire_active
-- It has vectors of all passages until now.
UPDATE responsa.collection_generation AS g
    SET state = 'retired', update_time = clock_timestamp(), passages_done = s.passages, passages_total = s.passages
FROM ({counted_passages}) AS s
WHERE g.tenant_id = %(tenant)s AND g.collection_id = %(collection)s AND g.state = 'active'
    AND s.tenant_id = g.tenant_id AND s.collection_id = g.collection_id;

-- name: completed
UPDATE responsa.collection_generation AS g SET state = CASE WHEN g.activate THEN 'active' ELSE 'ready' END, complete = true, former = NULL,
    update_time = clock_timestamp(), activate_time = CASE WHEN g.activate THEN clock_timestamp() ELSE g.activate_time END,
    passages_done = s.passages, passages_total = s.passages
FROM ({counted_passages}) AS s
WHERE g.tenant_id = %(tenant)s AND g.collection_id = %(collection)s AND g.number = %(number)s
    AND s.tenant_id = g.tenant_id AND s.collection_id = g.collection_id;

-- name: switch
UPDATE responsa.collection AS c SET embedding = g.embedding, dimensions = g.dimensions, generation_id = g.id, generation = g.number,
    revision = c.revision + 1, update_time = clock_timestamp()
FROM responsa.collection_generation AS g
WHERE c.tenant_id = %(tenant)s AND c.id = %(collection)s
    AND g.tenant_id = c.tenant_id AND g.collection_id = c.id AND g.number = %(number)s;

-- name: end_operation
UPDATE responsa.operation SET stage = 'done', passages_done = s.passages, passages_total = s.passages, update_time = clock_timestamp()
FROM ({counted_passages}) AS s
WHERE operation.tenant_id = %(tenant)s AND operation.id = %(id)s AND s.tenant_id = operation.tenant_id AND s.collection_id = %(collection)s;

-- name: building
SELECT id, complete FROM responsa.collection_generation
WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND number = %(number)s AND state = 'building' FOR UPDATE;

-- name: back_to_former
UPDATE responsa.collection_generation SET state = former, former = NULL, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND number = %(number)s;

-- name: failed
UPDATE responsa.collection_generation SET state = 'failed', passages_done = 0, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND number = %(number)s;

-- name: delete_generation
DELETE FROM responsa.collection_generation
WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND number = %(number)s AND state <> 'active'
RETURNING id;

-- name: discarded_first
-- As a `VectorStore` names them; likewise in the next statement.
SELECT c.id FROM responsa.collection AS c
WHERE c.tenant_id = %(tenant)s AND c.generation_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM responsa.collection_generation AS g
        WHERE g.tenant_id = c.tenant_id AND g.collection_id = c.id AND g.id IS NULL);

-- name: discarded
SELECT %(generation)s::uuid::text
WHERE NOT EXISTS (SELECT FROM responsa.collection WHERE tenant_id = %(tenant)s AND generation_id = %(generation)s)
    AND NOT EXISTS (SELECT FROM responsa.collection_generation WHERE tenant_id = %(tenant)s AND id = %(generation)s AND state <> 'failed');

-- name: discard_first_vectors
-- Vectors of collections whose active generation, and all others that are kept, have their vectors elsewhere.
DELETE FROM responsa.passage_vector WHERE ctid = ANY (ARRAY(
    SELECT v.ctid FROM responsa.passage_vector AS v
    JOIN responsa.collection AS c ON c.tenant_id = v.tenant_id AND c.id = v.collection_id
    WHERE v.tenant_id = %(tenant)s AND c.generation_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM responsa.collection_generation AS g
            WHERE g.tenant_id = c.tenant_id AND g.collection_id = c.id AND g.id IS NULL)
    LIMIT %(most)s));

-- name: discard_vectors
DELETE FROM responsa.generation_vector WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM responsa.generation_vector WHERE tenant_id = %(tenant)s AND generation_id = %(generation)s
        AND NOT EXISTS (SELECT FROM responsa.collection WHERE tenant_id = %(tenant)s AND generation_id = %(generation)s)
        AND NOT EXISTS (SELECT FROM responsa.collection_generation
            WHERE tenant_id = %(tenant)s AND id = %(generation)s AND state <> 'failed')
    LIMIT %(most)s));
