-- Passages, their vectors, what full-text ranking counts, and the two functions that search.
-- A passage is searched while it is live: it belongs to its document's current, fully indexed version. Older ones stay, not live, while an answer cites them.

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
    UNIQUE (tenant_id, document_id, version, ordinal)
) WITH (toast_tuple_target = 8160);
-- The target keeps lexemes uncompressed in the row: ranking matches them once a term, and decompressing each time cost four fifths of a search.
CREATE INDEX passage_lexemes ON responsa.passage USING gin (lexemes) WHERE live;
-- A small tenant's rows are found by this one and compared exactly, whatever the others have.
CREATE INDEX passage_live ON responsa.passage (tenant_id, collection_id) WHERE live;

-- Several a passage: windows of what the model reads at once, and the pieces that an answer may quote. None of a version that is no longer live.
CREATE TABLE responsa.passage_vector (
    passage_id uuid NOT NULL REFERENCES responsa.passage (id) ON DELETE CASCADE,
    ordinal int NOT NULL,
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('window', 'sentence', 'item', 'code', 'row', 'heading', 'title')),
    byte_start int NOT NULL,
    byte_end int NOT NULL CHECK (byte_end > byte_start),
    embedding halfvec(384) NOT NULL,
    PRIMARY KEY (passage_id, ordinal)
);
CREATE INDEX passage_vector_embedding ON responsa.passage_vector USING hnsw (embedding halfvec_cosine_ops) WITH (m = 16, ef_construction = 64);
-- Filtering an HNSW scan by tenant loses rows; for a small tenant the planner takes this index and sorts exactly.
CREATE INDEX passage_vector_tenant ON responsa.passage_vector (tenant_id, collection_id);

-- In how many live passages of a collection a term stands (BM25's document frequency).
CREATE TABLE responsa.term_stat (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    term text NOT NULL,
    passages int NOT NULL,
    PRIMARY KEY (tenant_id, term, collection_id)
) WITH (fillfactor = 80);
CREATE INDEX term_stat_unused ON responsa.term_stat (tenant_id, collection_id) WHERE passages <= 0;

-- Live passages of a collection and the sum of their lengths. Its row is also the lock under which the collection's statistics change.
CREATE TABLE responsa.collection_stat (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    passages bigint NOT NULL DEFAULT 0,
    terms bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, collection_id)
) WITH (fillfactor = 50);

-- Vectors already computed, by the text's hash. Each tenant has its own: a hit must not tell what another one stores.
CREATE TABLE responsa.embedding_cache (
    tenant_id text NOT NULL,
    model text NOT NULL,
    text_sha256 bytea NOT NULL CHECK (length(text_sha256) = 32),
    vector bytea NOT NULL, -- 16-bit floats, little-endian
    use_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, model, text_sha256)
);
CREATE INDEX embedding_cache_use ON responsa.embedding_cache (tenant_id, use_time);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['passage', 'passage_vector', 'term_stat', 'collection_stat', 'embedding_cache'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.%I TO responsa_app', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['passage', 'passage_vector'] LOOP
        EXECUTE format('CREATE POLICY search_reads ON responsa.%I FOR SELECT TO responsa_search USING (true)', name);
        EXECUTE format('GRANT SELECT ON responsa.%I TO responsa_search', name);
    END LOOP;
END
$$;

-- Row-level security keeps GIN and its operators out of a plan, so these two run as responsa_search, which sees every tenant: the tenant_id
-- conditions below are what keeps tenants apart. They also refuse a tenant other than the transaction's own.
-- Searching again with more or fewer candidates needs no change here: all limits are arguments.

-- The passages that hold any term of `wanted`, those with the greatest weight of matching terms first (each of `weights` belongs to one of `queries`).
CREATE FUNCTION responsa.search_lexical(
    tenant text, collections text[], wanted tsquery, queries tsquery[], weights real[], mean_length real, most int)
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, responsa, public, pg_temp
    SET plan_cache_mode = force_custom_plan
    SET enable_seqscan = off -- the planner takes @@ for as cheap as any operator
    AS $$
    BEGIN
        IF tenant IS DISTINCT FROM responsa.current_tenant() THEN
            RAISE insufficient_privilege USING MESSAGE = 'a search names another tenant than its transaction';
        END IF;
        RETURN QUERY
            SELECT p.id
            FROM responsa.passage AS p
            WHERE p.tenant_id = tenant
                AND p.live
                AND (collections IS NULL OR p.collection_id = ANY (collections))
                AND p.lexemes @@ wanted
            ORDER BY (SELECT sum(t.weight) FROM unnest(queries, weights) AS t (query, weight) WHERE p.lexemes @@ t.query)
                / (0.7 + 0.3 * p.length / mean_length) DESC, p.id
            LIMIT most;
    END
    $$;

-- The passages of the nearest vectors, by cosine, but for those in `others`. `breadth` is HNSW's ef_search; a filtered scan goes on until it has enough.
CREATE FUNCTION responsa.search_nearest(tenant text, collections text[], others text[], wanted halfvec, most int, breadth int)
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, responsa, public, pg_temp
    SET plan_cache_mode = force_custom_plan
    SET hnsw.iterative_scan = relaxed_order
    SET hnsw.ef_search = 100
    AS $$
    BEGIN
        IF tenant IS DISTINCT FROM responsa.current_tenant() THEN
            RAISE insufficient_privilege USING MESSAGE = 'a search names another tenant than its transaction';
        END IF;
        PERFORM set_config('hnsw.ef_search', breadth::text, true);
        RETURN QUERY
            WITH nearest AS MATERIALIZED (
                SELECT v.passage_id AS id
                FROM responsa.passage_vector AS v
                WHERE v.tenant_id = tenant
                    AND (collections IS NULL OR v.collection_id = ANY (collections))
                    AND v.collection_id <> ALL (others)
                    -- Before the limit, so that the scan goes on past a version that is being indexed. Not a column of the vector: each vector
                    -- would be written, and put into the index, once more when its version is published.
                    AND EXISTS (SELECT FROM responsa.passage AS p WHERE p.id = v.passage_id AND p.tenant_id = v.tenant_id AND p.live)
                ORDER BY v.embedding <=> wanted
                LIMIT most
            )
            SELECT DISTINCT nearest.id FROM nearest;
    END
    $$;

-- A function's owner must be allowed to create in its schema at the moment it is given away.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
ALTER FUNCTION responsa.search_lexical(text, text[], tsquery, tsquery[], real[], real, int) OWNER TO responsa_search;
ALTER FUNCTION responsa.search_nearest(text, text[], text[], halfvec, int, int) OWNER TO responsa_search;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'search_lexical(text, text[], tsquery, tsquery[], real[], real, int)', 'search_nearest(text, text[], text[], halfvec, int, int)'
    ] LOOP
        EXECUTE 'SET LOCAL ROLE responsa_search';
        EXECUTE format('REVOKE ALL ON FUNCTION responsa.%s FROM public', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION responsa.%s TO responsa_app', signature);
        EXECUTE 'RESET ROLE';
    END LOOP;
END
$$;
