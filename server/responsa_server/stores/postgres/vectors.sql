-- Vectors of passages of one tenant (role responsa_app, tenant set).

-- name: insert_vectors
-- vectors: those of the rows, in their order.
INSERT INTO responsa.passage_vector (passage_id, ordinal, tenant_id, collection_id, kind, byte_start, byte_end, embedding)
SELECT n.passage, n.ordinal, %(tenant)s, %(collection)s, n.kind, n.byte_start, n.byte_end, n.embedding
FROM ROWS FROM (json_to_recordset(%(rows)s::json) AS (passage uuid, ordinal int, kind text, byte_start int, byte_end int),
    unnest(%(vectors)b::halfvec[])) AS n (passage, ordinal, kind, byte_start, byte_end, embedding);

-- name: insert_generation_vectors
INSERT INTO responsa.generation_vector (passage_id, generation_id, ordinal, tenant_id, dimensions, kind, byte_start, byte_end, embedding)
SELECT n.passage, %(generation)s, n.ordinal, %(tenant)s, %(dimensions)s::int, n.kind, n.byte_start, n.byte_end, n.embedding
FROM ROWS FROM (json_to_recordset(%(rows)s::json) AS (passage uuid, ordinal int, kind text, byte_start int, byte_end int),
    unnest(%(vectors)b::halfvec[])) AS n (passage, ordinal, kind, byte_start, byte_end, embedding);

-- name: delete_retired_vectors
DELETE FROM responsa.passage_vector AS v USING responsa.passage AS p
WHERE p.tenant_id = %(tenant)s AND p.document_id = %(document)s AND NOT p.live AND p.version < %(version)s AND v.passage_id = p.id;

-- name: delete_retired_generation_vectors
DELETE FROM responsa.generation_vector AS v USING responsa.passage AS p
WHERE p.tenant_id = %(tenant)s AND p.document_id = %(document)s AND NOT p.live AND p.version < %(version)s AND v.passage_id = p.id;

-- name: near
-- A part of `candidates` in passages.sql: the passages of the nearest vectors, without passages in collections whose
-- active generation comes from another model or is not in this table.
UNION
SELECT passage_id FROM responsa.search_nearest_within(
    %(tenant)s::text, %(collections)s::text[],
    ARRAY(SELECT id FROM responsa.collection WHERE tenant_id = %(tenant)s AND (embedding <> %(model)s OR generation_id IS NOT NULL)),
    %(vector)b::halfvec, %(nearest)s::int, %(breadth)s::int, %(documents)b::uuid[], %(exact)s::boolean)

-- name: cosines
-- A part of `candidates`: the best cosines of passage p.
SELECT max(1 - (v.embedding <=> %(vector)b::halfvec)) FILTER (WHERE v.kind = 'window'),
    max(1 - (v.embedding <=> %(vector)b::halfvec)) FILTER (WHERE v.kind <> 'window')
FROM responsa.passage_vector AS v
WHERE v.passage_id = p.id AND v.tenant_id = %(tenant)s
    AND v.collection_id <> ALL (ARRAY(SELECT id FROM responsa.collection
        WHERE tenant_id = %(tenant)s AND (embedding <> %(model)s OR generation_id IS NOT NULL)))

-- name: no_cosines
SELECT NULL::float8, NULL::float8

-- name: pieces
-- The pieces of each passage one after the other: the first letter of the kind, both ends, and the cosine or NaN. So a
-- passage is one value and not many rows.
SELECT passage_id, string_agg(
    convert_to(left(kind, 1), 'UTF8') || int4send(byte_start) || int4send(byte_end) || float8send(coalesce(
        CASE WHEN collection_id <> ALL (ARRAY(SELECT id FROM responsa.collection
            WHERE tenant_id = %(tenant)s AND (embedding <> %(model)s OR generation_id IS NOT NULL)))
            THEN 1 - (embedding <=> %(vector)b::halfvec) END, 'NaN')), '' ORDER BY ordinal)
FROM responsa.passage_vector
WHERE tenant_id = %(tenant)s AND passage_id = ANY (%(ids)s::uuid[]) AND kind <> 'window'
GROUP BY passage_id;

-- name: near_of_generations
-- Like `near`, for these generations.
UNION
SELECT passage_id FROM responsa.search_generations(
    %(tenant)s::text, %(generations)s::uuid[], %(vector)b::halfvec, %(nearest)s::int, %(breadth)s::int,
        %(documents)b::uuid[], %(exact)s::boolean)

-- name: cosines_of_generations
SELECT max(1 - (v.embedding <=> %(vector)b::halfvec)) FILTER (WHERE v.kind = 'window'),
    max(1 - (v.embedding <=> %(vector)b::halfvec)) FILTER (WHERE v.kind <> 'window')
FROM responsa.generation_vector AS v
WHERE v.passage_id = p.id AND v.tenant_id = %(tenant)s AND v.generation_id = ANY (%(generations)s::uuid[])

-- name: pieces_of_generations
-- Like `pieces`, of passages whose collection's active generation is in this table.
SELECT v.passage_id, string_agg(
    convert_to(left(v.kind, 1), 'UTF8') || int4send(v.byte_start) || int4send(v.byte_end) || float8send(coalesce(
        CASE WHEN v.generation_id = ANY (%(generations)s::uuid[])
            THEN 1 - (v.embedding <=> %(vector)b::halfvec) END, 'NaN')), '' ORDER BY v.ordinal)
FROM responsa.generation_vector AS v
JOIN responsa.passage AS p ON p.id = v.passage_id
JOIN responsa.collection AS c ON c.tenant_id = p.tenant_id AND c.id = p.collection_id AND c.generation_id = v.generation_id
WHERE v.tenant_id = %(tenant)s AND v.passage_id = ANY (%(ids)s::uuid[]) AND v.kind <> 'window'
GROUP BY v.passage_id;
