-- Passages, their vectors, what full-text ranking counts, and the functions that search.
-- A passage is searched while it is live: it belongs to its document's current, fully indexed version. Older ones stay, not live, while an answer cites them.

GRANT CREATE ON SCHEMA responsa TO responsa_search; -- a function's owner must be allowed to create in its schema

-- Live passages of a collection without a subject, and the sum of their lengths. Its row is also the lock under which the collection's statistics change.
CREATE TABLE responsa.collection_stat (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    passages bigint NOT NULL DEFAULT 0,
    terms bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, collection_id)
) WITH (fillfactor = 50);
CREATE POLICY search_reads ON responsa.collection_stat FOR SELECT TO responsa_search USING (true);
CREATE POLICY access ON responsa.collection_stat AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR collection_id IN (SELECT unnest(responsa.readable_collections())));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.collection_stat TO responsa_app;
GRANT SELECT (tenant_id, collection_id, passages) ON responsa.collection_stat TO responsa_search;

-- In how many live passages of a collection without a subject a term occurs (BM25's document frequency).
CREATE TABLE responsa.term_stat (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    term text NOT NULL,
    passages int NOT NULL,
    PRIMARY KEY (tenant_id, term, collection_id)
) WITH (fillfactor = 80);
CREATE INDEX term_stat_unused ON responsa.term_stat (tenant_id, collection_id) WHERE passages <= 0;
CREATE POLICY access ON responsa.term_stat AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR collection_id IN (SELECT unnest(responsa.readable_collections())));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.term_stat TO responsa_app;

-- The same two for each subject: so the weight of a word shows nothing about documents that the caller may not read.
CREATE TABLE responsa.subject_stat (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    subject text NOT NULL CHECK (subject <> ''),
    passages bigint NOT NULL DEFAULT 0,
    terms bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, collection_id, subject)
) WITH (fillfactor = 50);
CREATE POLICY search_reads ON responsa.subject_stat FOR SELECT TO responsa_search USING (true);
CREATE POLICY access ON responsa.subject_stat AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (collection_id IN (SELECT unnest(responsa.readable_collections()))
        AND (subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.subject_stat TO responsa_app;
GRANT SELECT (tenant_id, collection_id, subject, passages) ON responsa.subject_stat TO responsa_search;
CREATE TABLE responsa.subject_term_stat (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    subject text NOT NULL CHECK (subject <> ''),
    term text NOT NULL,
    passages int NOT NULL,
    PRIMARY KEY (tenant_id, term, collection_id, subject)
) WITH (fillfactor = 80);
CREATE INDEX subject_term_stat_unused ON responsa.subject_term_stat (tenant_id, collection_id) WHERE passages <= 0;
CREATE POLICY access ON responsa.subject_term_stat AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (collection_id IN (SELECT unnest(responsa.readable_collections()))
        AND (subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.subject_term_stat TO responsa_app;

SET LOCAL ROLE responsa_search;
-- Whether the collections (NULL: all that the caller may read) have documents of subjects that the caller may not read.
CREATE FUNCTION responsa.hides_subjects(tenant text, collections text[]) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT tenant = responsa.current_tenant() AND EXISTS (
            SELECT FROM responsa.subject_stat AS s
            WHERE s.tenant_id = tenant AND s.passages > 0 AND s.subject <> ALL ((SELECT responsa.readable_subjects())::text[])
                AND s.collection_id IN (SELECT unnest(responsa.readable_collections())) AND (collections IS NULL OR s.collection_id = ANY (collections)))
    $$;
-- The passages of a collection that the caller may read are few of many if the others have other people's subjects: then the graph passes too few of them, and all vectors of
-- the readable ones are compared.
CREATE FUNCTION responsa.few_readable(tenant text, collections text[], subjects text[]) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
        WITH of_subject AS (
            SELECT coalesce(sum(s.passages) FILTER (WHERE s.subject = ANY (subjects)), 0) AS readable,
                coalesce(sum(s.passages) FILTER (WHERE s.subject <> ALL (subjects)), 0) AS hidden
            FROM responsa.subject_stat AS s
            WHERE s.tenant_id = tenant AND s.collection_id = ANY (collections)
        ), of_all AS (
            SELECT coalesce(sum(s.passages), 0) AS readable FROM responsa.collection_stat AS s
            WHERE s.tenant_id = tenant AND s.collection_id = ANY (collections)
        )
        SELECT of_subject.hidden > 0 AND (
            of_subject.readable + of_all.readable <= 2000
            OR (of_subject.readable + of_all.readable <= 20000 AND (of_subject.readable + of_all.readable) * 20 < of_subject.hidden))
        FROM of_subject, of_all
    $$;
REVOKE ALL ON FUNCTION responsa.hides_subjects, responsa.few_readable FROM public;
GRANT EXECUTE ON FUNCTION responsa.hides_subjects TO responsa_app;
RESET ROLE;
-- The server calls it at the beginning of a transaction that searches and changes nothing.
CREATE FUNCTION responsa.know_reader() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF NOT responsa.unrestricted() THEN
            PERFORM set_config('responsa.readable', responsa.readable_collections()::text, true),
                set_config('responsa.subjects', coalesce(responsa.readable_subjects()::text, ''), true),
                set_config('responsa.hides_subjects', responsa.hides_subjects(responsa.current_tenant(), NULL)::text, true),
                set_config('responsa.known_reader', responsa.reader(), true);
        END IF;
    END
    $$;
-- The subjects among which the functions that search look; NULL: all. If no subjects are hidden from the caller, it is faster not to read a passage's subject, which is at the
-- end of its row. What was found is read under the policies, so a document whose subject was set since the transaction began stays hidden.
CREATE FUNCTION responsa.searched_subjects() RETURNS text[]
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE
        WHEN current_setting('responsa.known_reader', true) = responsa.reader() AND current_setting('responsa.hides_subjects', true) = 'false' THEN NULL
        ELSE responsa.readable_subjects() END;

CREATE TABLE responsa.passage (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    document_id uuid NOT NULL,
    version int NOT NULL CHECK (version > 0),
    ordinal int NOT NULL CHECK (ordinal >= 0), -- place in the version
    byte_start int NOT NULL CHECK (byte_start >= 0), -- of the version's canonical text, UTF-8
    byte_end int NOT NULL CHECK (byte_end > byte_start),
    title text NOT NULL,
    uri text NOT NULL,
    headings text[] NOT NULL DEFAULT '{}', -- above it, outermost first
    text text NOT NULL,
    language text NOT NULL, -- ISO 639-1, '' when unknown
    tokens int NOT NULL, -- of the embedding model
    length int NOT NULL, -- in terms, the title's included: BM25's document length
    terms tsvector NOT NULL, -- made by the server: title and headings labelled A, text D
    lexemes tsvector NOT NULL GENERATED ALWAYS AS (strip(terms)) STORED, -- small enough to stay in the row; the index is on it
    live boolean NOT NULL DEFAULT false,
    -- Where its blocks are in the original file: [[first byte, end, page, [left, top, right, bottom] or null, path], …]. NULL for formats without places. Always read with
    -- the passage, as a whole: no column per value is needed.
    places json,
    subject text NOT NULL DEFAULT '', -- the document's
    -- Its words in the compact form of `domain/passage_words.py`, so that a search splits no text into terms. The first byte is the version of the form.
    -- Uncompressed, because a search reads about a hundred of them.
    words bytea STORAGE EXTERNAL,
    -- What follows from its text for a card: for each piece the ranges, the headings and the Markdown of its section and of its card (`search/parts.py`). NULL: not made yet.
    cards bytea,
    -- The headings above its first byte, and those within: [[first byte, level, title], …]. NULL: none. Always read with the passage, as a whole.
    outline json,
    -- Where it, or the text near it, gives instructions to an assistant (`text/instructing.py`), so that a question reads no text with patterns: the version of the patterns, then
    -- the first byte and the end of each range.
    instructing int[],
    name text NOT NULL DEFAULT '', -- the words of its document's file and folder that count as its own
    analysis smallint NOT NULL, -- by which version of `text/lexical.py` its terms were made, and its cards; a job makes those of others again
    UNIQUE (tenant_id, document_id, version, ordinal)
) WITH (toast_tuple_target = 8160);
-- The target keeps lexemes uncompressed in the row: ranking matches them once a term, and decompressing each time cost four fifths of a search.
CREATE INDEX passage_lexemes ON responsa.passage USING gin (lexemes) WHERE live;
-- A small tenant's rows are found by this one and compared exactly, whatever the others have. In the order of ids, the next passages that lack a vector of a generation are
-- found without reading those of other collections.
CREATE INDEX passage_in_order ON responsa.passage (tenant_id, collection_id, id) WHERE live;
CREATE INDEX passage_not_analysed ON responsa.passage (tenant_id, id)
    WHERE live AND (coalesce(get_byte(words, 0), 0) <> 1 OR coalesce(instructing[1], 0) <> 1 OR analysis <> 4 OR cards IS NULL);
CREATE INDEX passage_of_subject ON responsa.passage (tenant_id, collection_id, subject) WHERE live;
CREATE POLICY search_reads ON responsa.passage FOR SELECT TO responsa_search USING (true);
CREATE POLICY access ON responsa.passage AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (collection_id IN (SELECT unnest(responsa.readable_collections()))
        AND (subject = '' OR subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.passage TO responsa_app;
GRANT SELECT ON responsa.passage TO responsa_search;

-- Words find passages by how strongly the passages have them, so that a search of common words reads a bounded number of passages (ADR 0067).
-- One number for each term of a passage: a hash of the tenant, the collection and the term, whose last six bits are the term's strength in the passage: 24 + 4 log2 (tf / norm), where
-- norm is BM25's k1 (1 - b + b length / mean) for a mean length of 32 terms. Few collections have a shorter mean; in one with a longer, `search_words` corrects the strength.
CREATE FUNCTION responsa.postings(tenant text, collection text, terms tsvector, length int) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (
        SELECT coalesce(array_agg(hashtextextended(u.lexeme, hashtextextended(tenant || '/' || collection, 0)) & -64
            | least(greatest(floor(24 + 4 / ln(2::float8) * ln(f.tf / (0.3 + 0.028125 * length))), 0), 63)::bigint), '{}')
        -- A term has no positions if it occurs only after the last position that a tsvector can hold.
        FROM unnest(terms) AS u, LATERAL (SELECT greatest(cardinality(u.positions), 1)::float8 AS tf) AS f);
REVOKE ALL ON FUNCTION responsa.postings FROM public;
GRANT EXECUTE ON FUNCTION responsa.postings TO responsa_app, responsa_search;

CREATE INDEX passage_postings ON responsa.passage USING gin (responsa.postings(tenant_id, collection_id, terms, length)) WHERE live;

-- Several a passage: windows of what the model reads at once, and the pieces that an answer may quote. Versions that are no longer live have no vectors. The table holds the
-- first generation of a collection whose vectors have 384 dimensions; all other generations are in generation_vector.
CREATE TABLE responsa.passage_vector (
    passage_id uuid NOT NULL REFERENCES responsa.passage (id) ON DELETE CASCADE,
    ordinal int NOT NULL,
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('window', 'sentence', 'item', 'code', 'row', 'heading')),
    byte_start int NOT NULL,
    byte_end int NOT NULL CHECK (byte_end > byte_start),
    embedding halfvec(384) NOT NULL,
    PRIMARY KEY (passage_id, ordinal)
);
CREATE INDEX passage_vector_embedding ON responsa.passage_vector USING hnsw (embedding halfvec_cosine_ops) WITH (m = 16, ef_construction = 64);
-- Filtering an HNSW scan by tenant loses rows; for a small tenant the planner takes this index and sorts exactly.
CREATE INDEX passage_vector_tenant ON responsa.passage_vector (tenant_id, collection_id);
CREATE POLICY search_reads ON responsa.passage_vector FOR SELECT TO responsa_search USING (true);
-- A search reads hundreds of vectors, so their passages are looked up only if the caller may not read all subjects in the collections.
CREATE POLICY access ON responsa.passage_vector AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (collection_id IN (SELECT unnest(responsa.readable_collections()))
        AND ((SELECT responsa.hides_subjects(responsa.current_tenant(), NULL)) IS NOT TRUE
            OR EXISTS (SELECT FROM responsa.passage AS p WHERE p.id = passage_vector.passage_id))));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.passage_vector TO responsa_app;
GRANT SELECT ON responsa.passage_vector TO responsa_search;

-- Like passage_vector, for vectors of any of the lengths below. The operators of pgvector's indexes need a fixed length, so each length has its own index.
CREATE TABLE responsa.generation_vector (
    passage_id uuid NOT NULL REFERENCES responsa.passage (id) ON DELETE CASCADE,
    generation_id uuid NOT NULL,
    ordinal int NOT NULL,
    tenant_id text NOT NULL,
    dimensions int NOT NULL,
    kind text NOT NULL CHECK (kind IN ('window', 'sentence', 'item', 'code', 'row', 'heading')),
    byte_start int NOT NULL,
    byte_end int NOT NULL CHECK (byte_end > byte_start),
    embedding halfvec NOT NULL CHECK (vector_dims(embedding) = dimensions),
    PRIMARY KEY (passage_id, generation_id, ordinal)
);
-- A small generation is compared exactly.
CREATE INDEX generation_vector_generation ON responsa.generation_vector (generation_id);
DO $$
DECLARE
    length int;
BEGIN
    FOREACH length IN ARRAY ARRAY[256, 384, 512, 768, 1024, 1536, 3072] LOOP
        EXECUTE format('CREATE INDEX generation_vector_%1$s ON responsa.generation_vector USING hnsw ((embedding::halfvec(%1$s)) halfvec_cosine_ops)
            WITH (m = 16, ef_construction = 64) WHERE dimensions = %1$s', length);
    END LOOP;
END
$$;
CREATE POLICY search_reads ON responsa.generation_vector FOR SELECT TO responsa_search USING (true);
CREATE POLICY access ON responsa.generation_vector AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR EXISTS (SELECT FROM responsa.passage AS p WHERE p.id = generation_vector.passage_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.generation_vector TO responsa_app;
GRANT SELECT ON responsa.generation_vector TO responsa_search;

-- Vectors already computed, by the text's hash. Each tenant has its own: a hit must not show what another one stores.
CREATE TABLE responsa.embedding_cache (
    tenant_id text NOT NULL,
    model text NOT NULL,
    text_sha256 bytea NOT NULL CHECK (length(text_sha256) = 32),
    vector bytea NOT NULL, -- 16-bit floats, little-endian
    use_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, model, text_sha256)
);
CREATE INDEX embedding_cache_use ON responsa.embedding_cache (tenant_id, use_time);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.embedding_cache TO responsa_app;

SELECT responsa.isolate_tenants('collection_stat', 'term_stat', 'subject_stat', 'subject_term_stat', 'passage', 'passage_vector', 'generation_vector', 'embedding_cache');

-- Row-level security keeps GIN and its operators out of a plan, so these functions run as responsa_search, which sees every tenant: the tenant_id conditions below are what
-- keeps tenants apart, and the conditions on collections and subjects what keeps readers apart. They also refuse a tenant other than the transaction's own.
-- Searching again with more or fewer candidates needs no change here: all limits are arguments. `documents`: those that a filter selects, NULL for all. They are found first
-- (their rows are small), then words and vectors are searched within them: before the limit, so that a rare document is found among many.
-- PostgreSQL knows the settings of pgvector because this session has made its indexes.
SET LOCAL ROLE responsa_search;
-- The passages that hold any term of `wanted`, those with the greatest weight of matching terms first (each of `weights` belongs to one of `queries`).
-- Without enable_seqscan = off, the planner takes @@ for as cheap as any operator.
CREATE FUNCTION responsa.search_lexical_within(
    tenant text, collections text[], wanted tsquery, queries tsquery[], weights real[], mean_length real, most int, documents uuid[])
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, responsa, public, pg_temp SET plan_cache_mode = force_custom_plan SET enable_seqscan = off
    AS $$
    DECLARE
        subjects text[] := responsa.searched_subjects();
        readable text[];
    BEGIN
        IF tenant IS DISTINCT FROM responsa.current_tenant() THEN
            RAISE insufficient_privilege USING MESSAGE = 'a search names another tenant than its transaction';
        END IF;
        IF NOT responsa.unrestricted() THEN
            readable := responsa.readable_collections();
            collections := CASE WHEN collections IS NULL THEN readable ELSE ARRAY(SELECT unnest(collections) INTERSECT SELECT unnest(readable)) END;
        END IF;
        IF documents IS NULL THEN
            RETURN QUERY
                SELECT p.id FROM responsa.passage AS p
                WHERE p.tenant_id = tenant
                    AND p.live AND (collections IS NULL OR p.collection_id = ANY (collections)) AND (subjects IS NULL OR p.subject = ANY (subjects))
                    AND p.lexemes @@ wanted
                ORDER BY (SELECT sum(t.weight) FROM unnest(queries, weights) AS t (query, weight) WHERE p.lexemes @@ t.query)
                    / (0.7 + 0.3 * p.length / mean_length) DESC, p.id
                LIMIT most;
            RETURN;
        END IF;
        RETURN QUERY
            SELECT p.id FROM unnest(documents) AS d (id) JOIN responsa.passage AS p ON p.document_id = d.id
            WHERE p.tenant_id = tenant
                AND p.live AND (collections IS NULL OR p.collection_id = ANY (collections)) AND (subjects IS NULL OR p.subject = ANY (subjects))
                AND p.lexemes @@ wanted
            ORDER BY (SELECT sum(t.weight) FROM unnest(queries, weights) AS t (query, weight) WHERE p.lexemes @@ t.query)
                / (0.7 + 0.3 * p.length / mean_length) DESC, p.id
            LIMIT most;
    END
    $$;
-- A search of few passages among many compares all of their vectors, also without subjects: the graph holds the vectors of all tenants and collections, so a search in it passes
-- many of others, takes longer, and stops before it has found enough.
-- Whether the passages of these collections (NULL: of all of the tenant) are less than a twentieth of all in the database, by PostgreSQL's last count, and few enough to compare all
-- vectors.
CREATE FUNCTION responsa.few_of_many(tenant text, collections text[]) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
        SELECT own.passages <= 5000 AND own.passages * 20 < (SELECT reltuples FROM pg_class WHERE oid = 'responsa.passage'::regclass)
        FROM (
            SELECT coalesce(sum(s.passages), 0) AS passages
            FROM (
                SELECT passages FROM responsa.collection_stat AS c WHERE c.tenant_id = tenant AND (collections IS NULL OR c.collection_id = ANY (collections))
                UNION ALL
                SELECT passages FROM responsa.subject_stat AS c WHERE c.tenant_id = tenant AND (collections IS NULL OR c.collection_id = ANY (collections))
            ) AS s
        ) AS own
    $$;
REVOKE ALL ON FUNCTION responsa.few_of_many FROM public;
-- The passages of the nearest vectors, by cosine, but for those in `others`. `breadth` is HNSW's ef_search; a filtered scan goes on until it has enough.
-- `exact`: compare all vectors of the documents, instead of following the graph until it has passed enough of them. The graph passes few vectors of few documents.
-- Whether a passage is live is asked before the limit, so that the scan goes on past a version that is being indexed. It is not a column of the vector: each vector
-- would be written, and put into the index, once more when its version is published.
CREATE FUNCTION responsa.search_nearest_within(
    tenant text, collections text[], others text[], wanted halfvec, most int, breadth int, documents uuid[], exact boolean)
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, responsa, public, pg_temp SET plan_cache_mode = force_custom_plan SET hnsw.iterative_scan = relaxed_order SET hnsw.ef_search = 100
    AS $$
    DECLARE
        subjects text[] := responsa.searched_subjects();
        readable text[];
    BEGIN
        IF tenant IS DISTINCT FROM responsa.current_tenant() THEN
            RAISE insufficient_privilege USING MESSAGE = 'a search names another tenant than its transaction';
        END IF;
        IF NOT responsa.unrestricted() THEN
            readable := responsa.readable_collections();
            collections := CASE WHEN collections IS NULL THEN readable ELSE ARRAY(SELECT unnest(collections) INTERSECT SELECT unnest(readable)) END;
        END IF;
        IF exact
            OR responsa.few_of_many(tenant, collections)
            OR (documents IS NULL AND subjects IS NOT NULL AND responsa.few_readable(tenant, collections, subjects))
        THEN
            RETURN QUERY
                WITH within AS MATERIALIZED (
                    SELECT p.id FROM unnest(documents) AS d (id) JOIN responsa.passage AS p ON p.document_id = d.id
                    WHERE p.tenant_id = tenant
                        AND p.live AND (collections IS NULL OR p.collection_id = ANY (collections)) AND (subjects IS NULL OR p.subject = ANY (subjects))
                        AND p.collection_id <> ALL (others)
                    UNION ALL
                    SELECT p.id FROM responsa.passage AS p
                    WHERE documents IS NULL
                        AND p.tenant_id = tenant
                        AND p.live AND (collections IS NULL OR p.collection_id = ANY (collections)) AND (subjects IS NULL OR p.subject = ANY (subjects))
                        AND p.collection_id <> ALL (others)
                ), nearest AS MATERIALIZED (
                    SELECT v.passage_id AS id
                    FROM within
                    JOIN responsa.passage_vector AS v ON v.passage_id = within.id
                    ORDER BY (v.embedding <=> wanted) + 0 -- not the order of the graph's index, so that the planner does not follow the graph
                    LIMIT most
                )
                SELECT DISTINCT nearest.id FROM nearest;
            RETURN;
        END IF;
        PERFORM set_config('hnsw.ef_search', breadth::text, true);
        RETURN QUERY
            WITH nearest AS MATERIALIZED (
                SELECT v.passage_id AS id
                FROM responsa.passage_vector AS v
                WHERE v.tenant_id = tenant AND (collections IS NULL OR v.collection_id = ANY (collections)) AND v.collection_id <> ALL (others)
                    AND EXISTS (
                        SELECT FROM responsa.passage AS p
                        WHERE p.id = v.passage_id AND p.tenant_id = v.tenant_id AND p.live
                            AND (subjects IS NULL OR p.subject = ANY (subjects))
                            -- The OR keeps the planner from a join, in which it would read all documents for each vector. As it is, the documents are hashed once.
                            AND (documents IS NULL OR p.document_id IN (SELECT unnest(documents)))
                    )
                ORDER BY v.embedding <=> wanted
                LIMIT most
            )
            SELECT DISTINCT nearest.id FROM nearest;
    END
    $$;
-- The same for these generations; all of them must have vectors as long as `wanted`.
CREATE FUNCTION responsa.search_generations(
    tenant text, generations uuid[], wanted halfvec, most int, breadth int, documents uuid[], exact boolean)
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, responsa, public, pg_temp SET plan_cache_mode = force_custom_plan SET hnsw.iterative_scan = relaxed_order SET hnsw.ef_search = 100
    AS $$
    DECLARE
        subjects text[] := responsa.searched_subjects();
        readable text[]; -- NULL: all
    BEGIN
        IF tenant IS DISTINCT FROM responsa.current_tenant() THEN
            RAISE insufficient_privilege USING MESSAGE = 'a search names another tenant than its transaction';
        END IF;
        IF NOT responsa.unrestricted() THEN
            readable := responsa.readable_collections();
        END IF;
        IF exact
            OR responsa.few_of_many(tenant, readable) -- also of the collections that the search leaves out
            OR (documents IS NULL AND subjects IS NOT NULL AND responsa.few_readable(tenant, readable, subjects))
        THEN
            RETURN QUERY
                WITH within AS MATERIALIZED (
                    SELECT p.id FROM unnest(documents) AS d (id) JOIN responsa.passage AS p ON p.document_id = d.id
                    WHERE p.tenant_id = tenant AND p.live
                        AND (readable IS NULL OR p.collection_id = ANY (readable)) AND (subjects IS NULL OR p.subject = ANY (subjects))
                    UNION ALL
                    SELECT p.id FROM responsa.passage AS p
                    WHERE documents IS NULL AND p.tenant_id = tenant AND p.live
                        AND (readable IS NULL OR p.collection_id = ANY (readable)) AND (subjects IS NULL OR p.subject = ANY (subjects))
                ), nearest AS MATERIALIZED (
                    SELECT v.passage_id AS id
                    FROM within
                    JOIN responsa.generation_vector AS v ON v.passage_id = within.id AND v.generation_id = ANY (generations)
                    ORDER BY v.embedding <=> wanted -- without the cast to a length, no graph has this order
                    LIMIT most
                )
                SELECT DISTINCT nearest.id FROM nearest;
            RETURN;
        END IF;
        PERFORM set_config('hnsw.ef_search', breadth::text, true);
        -- The length is a part of the statement, because each length has its own index.
        RETURN QUERY EXECUTE format($statement$
            WITH nearest AS MATERIALIZED (
                SELECT v.passage_id AS id
                FROM responsa.generation_vector AS v
                WHERE v.tenant_id = $1
                    AND v.generation_id = ANY ($2)
                    AND v.dimensions = %1$s
                    -- See search_nearest_within.
                    AND EXISTS (SELECT FROM responsa.passage AS p WHERE p.id = v.passage_id AND p.tenant_id = v.tenant_id AND p.live
                        AND ($6 IS NULL OR p.collection_id = ANY ($6))
                        AND ($7 IS NULL OR p.subject = ANY ($7))
                        AND ($5 IS NULL OR p.document_id IN (SELECT unnest($5))))
                ORDER BY v.embedding::halfvec(%1$s) <=> $3::halfvec(%1$s)
                LIMIT $4
            )
            SELECT DISTINCT nearest.id FROM nearest$statement$, vector_dims(wanted))
            USING tenant, generations, wanted, most, documents, readable, subjects;
    END
    $$;
-- The passages that have one of the postings `first` and one of `second`, or one of `third` and one of `fourth`, in no order, with their BM25 (but for the factor k1 + 1). OFFSET 0
-- keeps other indexes out of the plan. ts_rank of a single term is the sum of 1/n² over its tf occurrences, divided by π²/6: from that follows tf. For a term with alternatives, tf is
-- about 1.
CREATE FUNCTION responsa.passages_with(
    tenant text, collection text, subjects text[], documents uuid[], first bigint[], second bigint[], third bigint[], fourth bigint[],
    queries tsquery[], weights real[], mean_length real, most int)
    RETURNS TABLE (id uuid, score float8)
    LANGUAGE sql STABLE
    AS $$
        SELECT p.id, (
            SELECT sum(t.weight * (1 - n.norm / (n.norm + greatest(0.6079271::float8 / (1 - ts_rank('{1, 1, 1, 1}', p.terms, t.query)) - 0.5::float8, 1))))
            FROM unnest(queries, weights) AS t (query, weight)
            WHERE p.lexemes @@ t.query)
        FROM (
            SELECT q.id, q.tenant_id, q.collection_id, q.document_id, q.subject, q.length, q.terms, q.lexemes
            FROM responsa.passage AS q
            WHERE q.live
                AND ((responsa.postings(q.tenant_id, q.collection_id, q.terms, q.length) && first
                        AND responsa.postings(q.tenant_id, q.collection_id, q.terms, q.length) && second)
                    OR (responsa.postings(q.tenant_id, q.collection_id, q.terms, q.length) && third
                        AND responsa.postings(q.tenant_id, q.collection_id, q.terms, q.length) && fourth))
            OFFSET 0
        ) AS p, LATERAL (SELECT 0.3::float8 + 0.9::float8 * p.length / mean_length AS norm) AS n
        WHERE p.tenant_id = tenant
            AND p.collection_id = collection
            AND (subjects IS NULL OR p.subject = ANY (subjects))
            AND (documents IS NULL OR p.document_id = ANY (documents))
        LIMIT most
    $$;
-- The `most` passages of a collection with the greatest BM25 for the words, as far as they are among those read, which are
-- 1. all passages of the rarest words, as long as these have at most 1,000 together (`frequencies`; rarest word first);
-- 2. about 300 passages that have one of the next eight words most strongly, each word by its weight;
-- 3. about 120 passages for each of these words that have it and another one less strongly.
-- It ends earlier when no other passage can be better than the tenth best. `wanted` and the arguments before `few` are those of `search_lexical_within`, which searches several
-- collections, few documents, and few readable passages. `queries` and `weights` are those of the question's terms; `words` also has those of their alternatives.
CREATE FUNCTION responsa.search_words(
    tenant text, collections text[], wanted tsquery, queries tsquery[], weights real[], mean_length real, most int, documents uuid[], few boolean,
    words text[], word_weights real[], frequencies int[])
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, responsa, public, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    AS $$
    DECLARE
        collection text := collections[1];
        subjects text[] := responsa.searched_subjects();
        of_subjects uuid[] := documents;
        hashes bigint[];
        whole int := 0; -- how many words are of step 1
        last int; -- the last word of steps 2 and 3
        matches bigint := 0;
        heaviest float8;
        share float8 := 1; -- passages are read that have at least this share of the heaviest word's greatest BM25, by this word or by another one
        drop float8 := 2;
        correction float8 := (0.3 + 0.028125 * mean_length) / 1.2; -- for passages of the mean length
        floors int[]; -- for each word, the least strength that was read; 64: none
        lower int[];
        passed int;
        ids uuid[] := '{}';
        scores float8[] := '{}';
        more_ids uuid[];
        more_scores float8[];
        tenth float8;
        reachable float8; -- by passages that were not read
    BEGIN
        IF tenant IS DISTINCT FROM responsa.current_tenant() THEN
            RAISE insufficient_privilege USING MESSAGE = 'a search names another tenant than its transaction';
        END IF;
        few := few OR cardinality(collections) IS DISTINCT FROM 1
            OR (SELECT i.indisvalid FROM pg_index AS i WHERE i.indexrelid = to_regclass('responsa.passage_postings')) IS NOT TRUE;
        IF NOT few AND NOT responsa.unrestricted() THEN
            IF collection <> ALL (responsa.readable_collections()) THEN
                RETURN;
            END IF;
            IF subjects IS NOT NULL AND responsa.few_readable(tenant, collections, subjects) THEN
                few := true;
                of_subjects := ARRAY(
                    SELECT DISTINCT p.document_id FROM responsa.passage AS p
                    WHERE p.tenant_id = tenant AND p.live AND p.collection_id = collection AND p.subject = ANY (subjects)
                        AND (documents IS NULL OR p.document_id = ANY (documents)));
            END IF;
        END IF;
        IF few THEN
            RETURN QUERY SELECT s.passage_id
                FROM responsa.search_lexical_within(tenant, collections, wanted, queries, weights, mean_length, most, of_subjects) AS s;
            RETURN;
        END IF;
        hashes := ARRAY(
            SELECT hashtextextended(w.word, hashtextextended(tenant || '/' || collection, 0)) & -64
            FROM unnest(words) WITH ORDINALITY AS w (word, place) ORDER BY w.place);
        WHILE whole < cardinality(words) AND matches + frequencies[whole + 1] <= 1000 LOOP
            whole := whole + 1;
            matches := matches + frequencies[whole];
        END LOOP;
        last := least(cardinality(words), whole + 8);
        IF whole > 0 THEN
            SELECT coalesce(array_agg(f.id), '{}'), coalesce(array_agg(f.score), '{}') INTO ids, scores
            FROM (SELECT ARRAY(SELECT h.hash | l.level FROM unnest(hashes[:whole]) AS h (hash), generate_series(0, 63) AS l (level)) AS keys) AS k,
                responsa.passages_with(tenant, collection, subjects, documents, k.keys, k.keys, '{}', '{}', queries, weights, mean_length, NULL) AS f;
        END IF;
        floors := array_fill(64, ARRAY[cardinality(words)]);
        heaviest := (SELECT max(w.weight) FROM unnest(word_weights[whole + 1:last]) AS w (weight));
        passed := cardinality(ids);
        LOOP
            tenth := coalesce((SELECT s.score FROM unnest(scores) AS s (score) ORDER BY s.score DESC OFFSET least(most, 10) - 1 LIMIT 1), 0);
            reachable := (
                SELECT sum(w.weight * CASE w.floor WHEN 64 THEN 1 ELSE 1 - 1 / (1 + greatest(1, mean_length / 32) * 2 ^ ((w.floor - 24) / 4.0::float8)) END)
                FROM unnest(word_weights[whole + 1:], floors[whole + 1:]) AS w (weight, floor));
            EXIT WHEN whole >= last OR share <= 0 OR reachable <= tenth OR cardinality(ids) - passed >= 300;
            share := greatest(share - drop / 32, 0);
            lower := ARRAY(
                SELECT CASE WHEN s.share >= 1 THEN 64
                    ELSE least(greatest(ceil(24 + 4 / ln(2::float8) * ln(greatest(s.share / (1 - s.share) / correction, 1e-9))), 0), 64)::int END
                FROM unnest(word_weights[:last]) WITH ORDINALITY AS w (weight, place), LATERAL (SELECT share * heaviest / w.weight AS share) AS s
                ORDER BY w.place)
                || floors[last + 1:];
            SELECT coalesce(array_agg(f.id), '{}'), coalesce(array_agg(f.score), '{}') INTO more_ids, more_scores
            FROM (SELECT ARRAY(
                    SELECT w.hash | l.level FROM unnest(hashes[whole + 1:last], lower[whole + 1:last], floors[whole + 1:last]) AS w (hash, low, high),
                        generate_series(w.low, w.high - 1) AS l (level)) AS keys) AS k,
                responsa.passages_with(tenant, collection, subjects, documents, k.keys, k.keys, '{}', '{}', queries, weights, mean_length, 1200) AS f;
            -- If the step was too wide, which of the passages were read is a matter of chance.
            IF cardinality(more_ids) = 1200 AND drop > 0.3 THEN
                share := share + drop / 32;
                drop := drop / 4;
                CONTINUE;
            END IF;
            ids := ids || more_ids;
            scores := scores || more_scores;
            floors := lower;
            IF cardinality(more_ids) >= 10 THEN
                drop := least(drop, 1);
            END IF;
        END LOOP;
        passed := cardinality(ids);
        FOR round IN 1..8 LOOP
            EXIT WHEN last - whole < 2 OR share <= 0 OR reachable <= tenth OR cardinality(ids) - passed >= 120 * (last - whole);
            share := greatest(share - CASE WHEN cardinality(ids) - passed < 10 THEN 4 WHEN cardinality(ids) - passed < 50 THEN 2 ELSE 1 END / 32.0::float8, 0);
            lower := ARRAY(
                SELECT CASE WHEN s.share >= 1 THEN 64
                    ELSE least(greatest(ceil(24 + 4 / ln(2::float8) * ln(greatest(s.share / (1 - s.share) / correction, 1e-9))), 0), 64)::int END
                FROM unnest(word_weights[:last]) WITH ORDINALITY AS w (weight, place), LATERAL (SELECT share * heaviest / w.weight AS share) AS s
                ORDER BY w.place);
            FOR i IN whole + 1..last - 1 LOOP
                -- Without the passages that were read for stronger postings of both words.
                SELECT coalesce(array_agg(f.id), '{}'), coalesce(array_agg(f.score), '{}') INTO more_ids, more_scores
                FROM (SELECT
                        ARRAY(SELECT hashes[i] | l.level FROM generate_series(lower[i], floors[i] - 1) AS l (level)) AS weaker,
                        ARRAY(SELECT hashes[i] | l.level FROM generate_series(floors[i], 63) AS l (level)) AS stronger,
                        ARRAY(SELECT w.hash | l.level FROM unnest(hashes[i + 1:last], lower[i + 1:last]) AS w (hash, low), generate_series(w.low, 63) AS l (level)) AS others,
                        ARRAY(SELECT w.hash | l.level FROM unnest(hashes[i + 1:last], lower[i + 1:last], floors[i + 1:last]) AS w (hash, low, high),
                            generate_series(w.low, w.high - 1) AS l (level)) AS weaker_others
                    ) AS k,
                    responsa.passages_with(
                        tenant, collection, subjects, documents, k.weaker, k.others, k.stronger, k.weaker_others, queries, weights, mean_length, 600) AS f;
                ids := ids || more_ids;
                scores := scores || more_scores;
            END LOOP;
            floors := lower;
        END LOOP;
        RETURN QUERY
            SELECT f.id FROM unnest(ids, scores) AS f (id, score) GROUP BY f.id ORDER BY max(f.score) DESC, f.id LIMIT most;
    END
    $$;
REVOKE ALL ON FUNCTION responsa.search_lexical_within, responsa.search_nearest_within, responsa.search_generations, responsa.passages_with, responsa.search_words FROM public;
GRANT EXECUTE ON FUNCTION responsa.search_lexical_within, responsa.search_nearest_within, responsa.search_generations, responsa.search_words TO responsa_app;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
