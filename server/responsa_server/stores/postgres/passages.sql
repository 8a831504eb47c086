-- Passages and term statistics of one tenant (role responsa_app, tenant set).

-- name: insert_passages
-- Set-wise, because to begin a statement and to look up what its policies allow takes longer than to store a row.
INSERT INTO responsa.passage (
    id, tenant_id, collection_id, document_id, version, ordinal, byte_start, byte_end, title, uri, headings, text,
        language, tokens, length, terms,
    places, words, cards, instructing, outline, name, subject, analysis)
SELECT n.id, %(tenant)s, n.collection, n.document, n.version, n.ordinal, n.byte_start, n.byte_end, n.title, n.uri,
    n.headings, n.text, n.language, n.tokens, n.length, n.terms,
    n.places, n.words, n.cards, n.instructing, n.outline, n.name, coalesce((SELECT d.subject FROM responsa.document AS d
        WHERE d.tenant_id = %(tenant)s AND d.id = n.document), ''), %(analysis)s
FROM json_to_recordset(%(rows)s::json) AS n (
    id uuid, collection text, document uuid, version int, ordinal int, byte_start int, byte_end int, title text,
        uri text, headings text[], text text, language text,
    tokens int, length int, terms tsvector, places json, words bytea, cards bytea, instructing int[], outline json, name text);

-- name: discard_version
-- Deletes the rows that an unfinished attempt left for a version that is not live.
DELETE FROM responsa.passage WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND version = %(version)s AND NOT live;

-- name: discard_some
DELETE FROM responsa.passage WHERE id IN (
    SELECT id FROM responsa.passage
        WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND version = %(version)s AND NOT live LIMIT %(most)s)
RETURNING true;

-- name: lock_statistics
-- Only one transaction at a time writes a collection's statistics. This statement also creates the row of the statistics.
INSERT INTO responsa.collection_stat AS s (tenant_id, collection_id) VALUES (%(tenant)s, %(collection)s)
ON CONFLICT (tenant_id, collection_id) DO UPDATE SET passages = s.passages;

-- name: active_generation
SELECT generation_id FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = %(collection)s;

-- name: publish_version
WITH gone AS (
    UPDATE responsa.passage SET live = false
    WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND version <> %(version)s AND live
    RETURNING lexemes, length, subject
), come AS (
    -- The document is locked. Its subject may have changed since these passages were written.
    UPDATE responsa.passage
        SET live = true, subject = coalesce((SELECT subject FROM responsa.document WHERE tenant_id = %(tenant)s AND id = %(document)s), '')
    WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND version = %(version)s AND NOT live
    RETURNING lexemes, length, subject
), delta AS (
    SELECT lexemes, length, subject, -1 AS sign FROM gone UNION ALL SELECT lexemes, length, subject, 1 FROM come
)

-- name: count_delta
-- The end of each statement whose `delta` has what is no longer live, with sign -1, and what is live now, with sign 1.
, counted AS (
    UPDATE responsa.collection_stat AS s SET passages = s.passages + d.passages, terms = s.terms + d.terms
    FROM (SELECT coalesce(sum(sign), 0) AS passages, coalesce(sum(sign * length), 0) AS terms FROM delta WHERE subject = '') AS d
    WHERE s.tenant_id = %(tenant)s AND s.collection_id = %(collection)s
), counted_of_subjects AS (
    INSERT INTO responsa.subject_stat AS s (tenant_id, collection_id, subject, passages, terms)
    SELECT %(tenant)s, %(collection)s, d.subject, sum(d.sign), sum(d.sign * d.length) FROM delta AS d
        WHERE d.subject <> '' GROUP BY d.subject
    ON CONFLICT (tenant_id, collection_id, subject) DO UPDATE
        SET passages = s.passages + excluded.passages, terms = s.terms + excluded.terms
), terms_of_subjects AS (
    INSERT INTO responsa.subject_term_stat AS s (tenant_id, collection_id, subject, term, passages)
    SELECT %(tenant)s, %(collection)s, d.subject, u.lexeme, sum(d.sign)
    FROM delta AS d, unnest(d.lexemes) AS u
    WHERE d.subject <> ''
    GROUP BY d.subject, u.lexeme
    HAVING sum(d.sign) <> 0
    ON CONFLICT (tenant_id, term, collection_id, subject) DO UPDATE SET passages = s.passages + excluded.passages
)
INSERT INTO responsa.term_stat AS s (tenant_id, collection_id, term, passages)
SELECT %(tenant)s, %(collection)s, u.lexeme, sum(d.sign)
FROM delta AS d, unnest(d.lexemes) AS u
WHERE d.subject = ''
GROUP BY u.lexeme
HAVING sum(d.sign) <> 0
ON CONFLICT (tenant_id, term, collection_id) DO UPDATE SET passages = s.passages + excluded.passages;

-- name: delete_retired_passages
DELETE FROM responsa.passage
WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND NOT live AND version < %(version)s AND NOT id = ANY (%(keep)s);

-- name: delete_document
-- The passages are locked in the order of their ids, like those whose vectors a worker stores.
WITH held AS MATERIALIZED (
    SELECT id FROM responsa.passage WHERE tenant_id = %(tenant)s AND document_id = %(document)s ORDER BY id FOR UPDATE
), gone AS (
    DELETE FROM responsa.passage AS p USING held WHERE p.id = held.id RETURNING p.lexemes, p.length, p.live, p.subject
), delta AS (
    SELECT lexemes, length, subject, -1 AS sign FROM gone WHERE live
)

-- name: move_to_subject
WITH held AS MATERIALIZED (
    SELECT id, subject FROM responsa.passage
    WHERE tenant_id = %(tenant)s AND document_id = %(document)s AND subject <> %(subject)s
    ORDER BY id FOR UPDATE
), moved AS (
    UPDATE responsa.passage AS p SET subject = %(subject)s FROM held WHERE p.id = held.id
        RETURNING p.lexemes, p.length, p.live, held.subject AS former
), delta AS (
    SELECT lexemes, length, former AS subject, -1 AS sign FROM moved WHERE live UNION ALL
        SELECT lexemes, length, %(subject)s, 1 FROM moved WHERE live
)

-- name: delete_collection_passages
DELETE FROM responsa.passage WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s;

-- name: delete_collection_terms
DELETE FROM responsa.term_stat WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s;

-- name: delete_collection_statistics
DELETE FROM responsa.collection_stat WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s;

-- name: delete_collection_terms_of_subjects
DELETE FROM responsa.subject_term_stat WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s;

-- name: delete_collection_subjects
DELETE FROM responsa.subject_stat WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s;

-- name: delete_unused_terms_of_subjects
DELETE FROM responsa.subject_term_stat WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND passages <= 0;

-- name: delete_unused_subjects
DELETE FROM responsa.subject_stat WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND passages <= 0;

-- name: delete_unused_terms
DELETE FROM responsa.term_stat WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s AND passages <= 0;

-- name: statistics
-- Of passages that the caller may read: row-level security leaves out those of other subjects. The collections are
-- named as the caller names them. Documents of the caller's subjects
-- are counted separately.
WITH meant AS MATERIALIZED (
    SELECT CASE WHEN %(collections)s::text[] IS NOT NULL
        THEN ARRAY(SELECT responsa.readable_collection(name) FROM unnest(%(collections)s::text[]) AS w (name)) END AS ids
), held AS (
    SELECT s.collection_id, sum(s.passages)::bigint AS passages, sum(s.terms)::bigint AS terms
    FROM meant, LATERAL (
        SELECT o.collection_id, o.passages, o.terms FROM responsa.collection_stat AS o
        WHERE o.tenant_id = %(tenant)s AND (meant.ids IS NULL OR o.collection_id = ANY (meant.ids))
        UNION ALL
        SELECT o.collection_id, o.passages, o.terms FROM responsa.subject_stat AS o
        WHERE o.tenant_id = %(tenant)s AND (meant.ids IS NULL OR o.collection_id = ANY (meant.ids))
    ) AS s
    WHERE s.passages > 0
    GROUP BY s.collection_id
), counted AS (
    SELECT t.collection_id, json_object_agg(t.term, t.passages) AS frequencies
    FROM (
        SELECT u.collection_id, u.term, sum(u.passages) AS passages
        FROM meant, LATERAL (
            SELECT o.collection_id, o.term, o.passages FROM responsa.term_stat AS o
            WHERE o.tenant_id = %(tenant)s AND o.term = ANY (%(terms)s::text[]) AND (meant.ids IS NULL OR o.collection_id = ANY (meant.ids))
            UNION ALL
            SELECT o.collection_id, o.term, o.passages FROM responsa.subject_term_stat AS o
            WHERE o.tenant_id = %(tenant)s AND o.term = ANY (%(terms)s::text[]) AND (meant.ids IS NULL OR o.collection_id = ANY (meant.ids))
        ) AS u
        GROUP BY u.collection_id, u.term
    ) AS t
    GROUP BY t.collection_id
)
SELECT s.collection_id, s.passages, s.terms, f.frequencies, coalesce(c.synonyms_sha256, ''), coalesce(c.kind, 'own'),
    coalesce(c.embedding, ''),
    c.generation_id, coalesce(n.name, s.collection_id)
FROM held AS s
LEFT JOIN counted AS f ON f.collection_id = s.collection_id
LEFT JOIN responsa.collection AS c ON c.tenant_id = %(tenant)s AND c.id = s.collection_id
LEFT JOIN responsa.collection_names() AS n ON n.id = s.collection_id;

-- name: stamp
-- xmin is the transaction that wrote a row; while PostgreSQL runs, each has another number.
-- Every change of a collection's live passages writes its row
-- of statistics (`lock_statistics`), every other change of the collection and of its readers writes its own row, a
-- change of the caller's subject writes the caller's row, and who becomes the member of a group again has a new row. So a
-- value never comes again after a change, not even when the change is undone.
SELECT md5(concat_ws(' ', (SELECT u.xmin FROM responsa.app_user AS u
    WHERE u.tenant_id = %(tenant)s AND u.id = responsa.acting_user()),
    (SELECT string_agg(m.xmin::text, ',' ORDER BY m.group_id, m.issuer, m.value) FROM responsa.group_member AS m
        WHERE m.tenant_id = %(tenant)s AND m.user_id = responsa.acting_user() AND m.expire_time > now()),
    string_agg(concat_ws(' ', n.name, c.id, c.xmin, s.xmin), ',' ORDER BY c.id)))
FROM responsa.collection AS c
JOIN responsa.collection_names() AS n ON n.id = c.id
LEFT JOIN responsa.collection_stat AS s ON s.tenant_id = c.tenant_id AND s.collection_id = c.id
WHERE c.tenant_id = %(tenant)s
    AND (%(names)s::text[] IS NULL OR c.id IN (SELECT responsa.readable_collection(name) FROM unnest(%(names)s::text[]) AS w (name)));

-- name: begun
-- When PostgreSQL began to run.
SELECT pg_postmaster_start_time() AS begun;

-- name: hides
SELECT responsa.hides_subjects(%(tenant)s::text, CASE WHEN %(collections)s::text[] IS NOT NULL
    THEN ARRAY(SELECT responsa.readable_collection(name) FROM unnest(%(collections)s::text[]) AS w (name)) END);

-- name: synonyms
SELECT id, synonyms FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = ANY (%(collections)s::text[]) AND synonyms <> '';

-- name: plans
-- How the following statements of the transaction are planned.
SELECT set_config('plan_cache_mode', %(plans)s, true);

-- name: documents
-- The ids, one after the other, and the number of their passages.
SELECT coalesce(string_agg(uuid_send(d.id), ''), ''), coalesce(sum(d.passage_count), 0)::bigint
FROM responsa.document AS d
WHERE d.tenant_id = %(tenant)s AND d.version > 0
    AND (%(collections)s::text[] IS NULL OR d.collection_id = ANY (ARRAY(SELECT responsa.readable_collection(name)
        FROM unnest(%(collections)s::text[]) AS w (name))))
    -- For a caller who may read about everybody, readable_subjects() is NULL, and nothing is found.
    AND (%(own)s::text[] IS NULL OR CASE
        WHEN d.subject = '' THEN d.collection_id = ANY (ARRAY(SELECT responsa.readable_collection(name)
            FROM unnest(%(own)s::text[]) AS w (name))) ELSE %(about)s AND d.subject = ANY (responsa.readable_subjects()) END)
    AND {where};

-- name: languages
-- Those of documents that searches find, of most documents first.
SELECT d.language
FROM responsa.document AS d
WHERE d.tenant_id = %(tenant)s AND d.version > 0 AND d.language <> ''
    AND d.collection_id = ANY (ARRAY(SELECT responsa.readable_collection(name) FROM unnest(%(collections)s::text[]) AS w (name)))
GROUP BY d.language
ORDER BY count(*) DESC, d.language;

-- name: candidates
-- The passages that the words' queries, the vector (`near` in vectors.sql) or `ids` select and that are live and in the
-- collections, each with its words; if these are not stored in
-- the present form: which of the terms the passage contains, and how often each of them occurs. The last columns are
-- the best cosines of its vectors (`cosines` in vectors.sql).
WITH selected AS MATERIALIZED (
    SELECT w.passage_id AS id
    FROM json_to_recordset(%(queries)s::json) AS q (
        collections text[], wanted text, queries text[], weights real[], mean_length real, most int, few boolean,
            words text[], word_weights real[], frequencies int[]),
        LATERAL responsa.search_words(
            %(tenant)s::text, q.collections, q.wanted::tsquery, q.queries::tsquery[], q.weights, q.mean_length, q.most,
                %(documents)b::uuid[], q.few, q.words, q.word_weights,
            q.frequencies) AS w
    UNION
    SELECT unnest(%(ids)s::uuid[])
    {near}
)
SELECT p.id, p.collection_id, p.language, p.length, CASE WHEN old.form THEN NULL ELSE p.words END, CASE WHEN old.form THEN (
    -- A term has no positions if it occurs only after the last position that a tsvector can hold.
    SELECT json_object_agg(u.lexeme, cardinality(u.positions)) FROM unnest(p.terms) AS u
    WHERE u.lexeme = ANY (%(terms)s::text[]) AND u.positions IS NOT NULL
) END, c."window", c.piece
FROM responsa.passage AS p
CROSS JOIN LATERAL (SELECT coalesce(get_byte(p.words, 0), 0) <> %(form)s) AS old (form)
CROSS JOIN LATERAL ({cosines}) AS c ("window", piece)
WHERE p.tenant_id = %(tenant)s
    AND p.live
    AND (%(collections)s::text[] IS NULL OR p.collection_id = ANY (%(collections)s))
    -- The ids are in an array, so that the planner reads these rows by their key, however many rows it expects.
    AND p.id = ANY (ARRAY(SELECT id FROM selected));

-- name: passages
SELECT p.id, p.collection_id, p.document_id, p.version, p.title, p.uri, p.byte_start, p.byte_end, p.text, p.headings, p.language,
    coalesce(v.media_type, ''), p.places, coalesce(to_char(v.date AT TIME ZONE 'UTC', 'YYYY-MM-DD'), ''),
        coalesce(p.words, ''), p.instructing, p.outline, p.name
FROM responsa.passage AS p
LEFT JOIN responsa.document_version AS v ON v.tenant_id = p.tenant_id AND v.document_id = p.document_id AND v.version = p.version
WHERE p.tenant_id = %(tenant)s AND p.id = ANY (%(ids)s::uuid[]) AND (p.live OR NOT %(searched)s::boolean);

-- name: tenants_with_passages
SELECT id FROM responsa.all_tenants() WHERE end_time IS NULL ORDER BY id;

-- name: without_words
-- Passages whose analysis is not stored in the present form, the header of the table within which each begins (see
-- `before`), and the address of its document if nobody has stated a title. The condition is that of an index.
SELECT p.id, coalesce(CASE WHEN (p.places -> 0 ->> 1)::int < p.byte_start
    THEN convert_from(substring(coalesce(v.canonical, v.original)
        FROM (p.places -> 0 ->> 0)::int + 1 FOR (p.places -> 0 ->> 1)::int - (p.places -> 0 ->> 0)::int), 'UTF8') || E'\n'
    END, ''), CASE WHEN v.declared_title = '' THEN p.uri ELSE '' END
FROM responsa.passage AS p
LEFT JOIN responsa.document_version AS v ON v.tenant_id = p.tenant_id AND v.document_id = p.document_id AND v.version = p.version
WHERE p.tenant_id = %(tenant)s AND p.live AND (coalesce(get_byte(p.words, 0), 0) <> 1
    OR coalesce(p.instructing[1], 0) <> 1 OR p.analysis <> 4 OR p.cards IS NULL)
ORDER BY p.id LIMIT %(most)s;

-- name: of_other_terms
-- The collections of those passages that have other terms than these.
SELECT DISTINCT p.collection_id FROM unnest(%(ids)s::uuid[], %(terms)s::text[]) AS w (id, terms)
JOIN responsa.passage AS p ON p.tenant_id = %(tenant)s AND p.id = w.id
WHERE p.live AND p.terms <> w.terms::tsvector
ORDER BY p.collection_id;

-- name: hold_collection_of_terms
-- It cannot be deleted until this transaction ends.
SELECT true FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = %(collection)s FOR KEY SHARE;

-- name: write_terms
WITH held AS MATERIALIZED (
    SELECT p.id, p.lexemes, p.length, p.subject, w.terms::tsvector AS come, w.length AS come_length
    FROM unnest(%(ids)s::uuid[], %(terms)s::text[], %(lengths)s::int[]) AS w (id, terms, length)
    JOIN responsa.passage AS p ON p.tenant_id = %(tenant)s AND p.collection_id = %(collection)s AND p.id = w.id
    WHERE p.live AND p.terms <> w.terms::tsvector
    ORDER BY p.id FOR NO KEY UPDATE OF p SKIP LOCKED
), moved AS (
    UPDATE responsa.passage AS p SET terms = held.come, length = held.come_length FROM held WHERE p.id = held.id
        RETURNING p.lexemes, p.length, p.subject
), delta AS (
    SELECT lexemes, length, subject, -1 AS sign FROM held UNION ALL SELECT lexemes, length, subject, 1 FROM moved
)

-- name: write_words
-- Rows that another transaction has locked are left for later, so that no transactions wait for each other.
UPDATE responsa.passage AS p
SET words = w.words, cards = w.cards, instructing = i.instructing, name = coalesce(w.name, p.name), analysis = %(analysis)s
FROM unnest(%(ids)s::uuid[], %(words)s::bytea[], %(cards)s::bytea[], %(terms)s::text[], %(names)s::text[])
    WITH ORDINALITY AS w (id, words, cards, terms, name, place)
CROSS JOIN LATERAL (SELECT CASE WHEN json_typeof(a) = 'array' THEN ARRAY(SELECT v::int FROM json_array_elements_text(a) AS v) END
    FROM (SELECT %(instructing)s::json -> (w.place - 1)::int) AS e (a)) AS i (instructing)
WHERE p.id = w.id AND (w.terms IS NULL OR p.terms = w.terms::tsvector) AND p.id IN (
    SELECT id FROM responsa.passage WHERE tenant_id = %(tenant)s AND id = ANY (%(ids)s::uuid[]) AND live FOR NO KEY UPDATE SKIP LOCKED);

-- name: surroundings
-- The text around each passage, with the place of its first byte, and its cards. Without these, the header of the table
-- within which the passage begins, if it is known: only the place of a header stands before the passage. Otherwise the
-- text before the passage. And the outlines of the passages near it: short sections are joined, so more than sixteen
-- are hardly ever near.
-- The canonical text is stored uncompressed, so only the bytes that are returned are read.
SELECT p.id, greatest(p.byte_start - %(most)s::int, v.body_start),
    substring(coalesce(v.canonical, v.original) FROM greatest(p.byte_start - %(most)s::int, v.body_start) + 1
        FOR p.byte_end + %(most)s::int - greatest(p.byte_start - %(most)s::int, v.body_start)),
    coalesce(c.cards, ''),
    CASE
        WHEN c.cards IS NOT NULL THEN ''
        WHEN (p.places -> 0 ->> 1)::int < p.byte_start
        THEN substring(coalesce(v.canonical, v.original) FROM (p.places -> 0 ->> 0)::int + 1 FOR
            (p.places -> 0 ->> 1)::int - (p.places -> 0 ->> 0)::int)
            || '\x0a'::bytea
        ELSE substring(coalesce(v.canonical, v.original) FROM greatest(p.byte_start - %(before)s::int,
            v.body_start) + 1 FOR least(p.byte_start - v.body_start, %(before)s::int))
    END,
    (SELECT json_agg(n.outline) FROM responsa.passage AS n
        WHERE n.tenant_id = p.tenant_id AND n.document_id = p.document_id AND n.version = p.version
            AND n.ordinal BETWEEN p.ordinal - 16 AND p.ordinal + 16
            AND n.byte_start < p.byte_end + %(most)s::int AND n.byte_end > p.byte_start - %(most)s::int
            AND n.outline IS NOT NULL)
FROM responsa.passage AS p
CROSS JOIN LATERAL (SELECT CASE WHEN p.analysis = %(analysis)s THEN p.cards END) AS c (cards)
JOIN responsa.document_version AS v ON v.tenant_id = p.tenant_id AND v.document_id = p.document_id AND v.version = p.version
WHERE p.tenant_id = %(tenant)s AND p.id = ANY (%(ids)s::uuid[]) AND v.canonical_sha256 IS NOT NULL;

-- name: editions
SELECT d.id, d.source_key, v.title, coalesce(to_char(v.date AT TIME ZONE 'UTC', 'YYYY-MM-DD'), ''), v.create_time,
    substring(coalesce(v.canonical, v.original) FROM 1 FOR least(v.body_start, 2000)),
    coalesce((SELECT json_agg(p.outline) FROM responsa.passage AS p
        WHERE p.tenant_id = v.tenant_id AND p.document_id = v.document_id AND p.version = v.version AND p.ordinal < 32
            AND p.outline IS NOT NULL), '[]')
FROM responsa.document AS d
JOIN responsa.document_version AS v ON v.tenant_id = d.tenant_id AND v.document_id = d.id AND v.version = d.version
WHERE d.tenant_id = %(tenant)s AND d.id = ANY (%(documents)s::uuid[]);

-- name: cached_vectors
-- The last column: whether the vector was not used today.
SELECT text_sha256, vector, use_time < now() - interval '1 day' FROM responsa.embedding_cache
WHERE tenant_id = %(tenant)s AND model = %(model)s AND text_sha256 = ANY (%(hashes)s);

-- name: touch_vectors
-- Marks vectors as used, so that pruning keeps them. A vector is written at most once a day. Rows are locked in a fixed
-- order. Rows that another
-- session has locked are skipped, because that session marks or deletes them.
WITH old AS (
    SELECT text_sha256 FROM responsa.embedding_cache
    WHERE tenant_id = %(tenant)s AND model = %(model)s AND text_sha256 = ANY (%(hashes)s) AND use_time < now() - interval '1 day'
    ORDER BY text_sha256 FOR UPDATE SKIP LOCKED
)
UPDATE responsa.embedding_cache AS c SET use_time = now() FROM old
WHERE c.tenant_id = %(tenant)s AND c.model = %(model)s AND c.text_sha256 = old.text_sha256;

-- name: cache_vectors
-- Removes some unused vectors, oldest first, whenever vectors are added, so that the table does not grow for ever. The
-- transaction does not wait for the disk: a vector that is lost is made again.
WITH gone AS (
    DELETE FROM responsa.embedding_cache AS c
    USING (
        SELECT model, text_sha256 FROM responsa.embedding_cache
        WHERE tenant_id = %(tenant)s AND use_time < now() - interval '30 days'
        ORDER BY use_time LIMIT %(most)s FOR UPDATE SKIP LOCKED
    ) AS old
    WHERE c.tenant_id = %(tenant)s AND c.model = old.model AND c.text_sha256 = old.text_sha256
)
INSERT INTO responsa.embedding_cache (tenant_id, model, text_sha256, vector)
SELECT %(tenant)s, %(model)s, u.text_sha256, u.vector
FROM unnest(%(hashes)s::bytea[], %(vectors)s::bytea[]) AS u (text_sha256, vector), set_config('synchronous_commit', 'off', true)
ON CONFLICT (tenant_id, model, text_sha256) DO NOTHING;

-- name: take_time
-- The timeout applies until the end of the transaction.
SELECT set_config('statement_timeout', %(timeout)s, true);
