-- What a server keeps of a collection in memory (role responsa_app, tenant set).

-- name: stamps
-- The collections that the caller means and may read, each with its stamp, and those of these passages that the caller
-- may read: in one statement, so that both are of one moment.
-- See `stamp` in passages.sql for what xmin says. Passages of subjects that the caller may read count.
SELECT (
    SELECT json_agg(json_build_array(c.id, n.name, concat_ws(' ', pg_postmaster_start_time(), c.xmin, s.xmin),
        coalesce(s.passages, 0) + coalesce((SELECT sum(o.passages) FROM responsa.subject_stat AS o
            WHERE o.tenant_id = c.tenant_id AND o.collection_id = c.id), 0)))
    FROM responsa.collection AS c
    JOIN responsa.collection_names() AS n ON n.id = c.id
    LEFT JOIN responsa.collection_stat AS s ON s.tenant_id = c.tenant_id AND s.collection_id = c.id
    WHERE c.tenant_id = %(tenant)s
        AND (%(names)s::text[] IS NULL OR c.id IN (SELECT responsa.readable_collection(name) FROM unnest(%(names)s::text[]) AS w (name)))
), ARRAY(SELECT p.id FROM responsa.passage AS p WHERE p.tenant_id = %(tenant)s AND p.live AND p.id = ANY (%(ids)s::uuid[]));

-- name: resident_collection
-- A collection without documents of subjects.
SELECT concat_ws(' ', pg_postmaster_start_time(), c.xmin, s.xmin), c.kind, c.embedding, c.generation_id,
    coalesce(c.synonyms_sha256, ''), c.synonyms, s.passages, s.terms
FROM responsa.collection AS c
JOIN responsa.collection_stat AS s ON s.tenant_id = c.tenant_id AND s.collection_id = c.id
WHERE c.tenant_id = %(tenant)s AND c.id = %(collection)s
    AND NOT EXISTS (SELECT FROM responsa.subject_stat AS o WHERE o.tenant_id = c.tenant_id AND o.collection_id = c.id AND o.passages > 0);

-- name: resident_passages
-- In the order of their ids. The columns are those of `passages` in passages.sql, and the length.
SELECT p.id, p.collection_id, p.document_id, p.version, p.title, p.uri, p.byte_start, p.byte_end, p.text, p.headings, p.language,
    coalesce(v.media_type, ''), p.places, coalesce(to_char(v.date AT TIME ZONE 'UTC', 'YYYY-MM-DD'), ''),
        coalesce(p.words, ''), p.instructing, p.outline, p.name, p.length
FROM responsa.passage AS p
LEFT JOIN responsa.document_version AS v ON v.tenant_id = p.tenant_id AND v.document_id = p.document_id AND v.version = p.version
WHERE p.tenant_id = %(tenant)s AND p.collection_id = %(collection)s AND p.live
ORDER BY p.id;

-- name: resident_vectors
-- The vectors of each passage one after the other: the first letter of the kind, both ends, and the vector.
SELECT passage_id, string_agg(convert_to(left(kind, 1), 'UTF8') || int4send(byte_start) || int4send(byte_end)
    || halfvec_send(embedding), '' ORDER BY ordinal)
FROM responsa.passage_vector
WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s
GROUP BY passage_id;

-- name: resident_vectors_of_generation
SELECT passage_id, string_agg(convert_to(left(kind, 1), 'UTF8') || int4send(byte_start) || int4send(byte_end)
    || halfvec_send(embedding), '' ORDER BY ordinal)
FROM responsa.generation_vector
WHERE tenant_id = %(tenant)s AND generation_id = %(generation)s
GROUP BY passage_id;
