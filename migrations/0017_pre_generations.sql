-- Generations of a collection: the vectors that one embedding model made of its passages. passage_vector stays the first table: it holds the first generation of a
-- collection whose vectors have 384 dimensions, and the release before reads and writes nothing else. All other generations are in generation_vector.
SET LOCAL lock_timeout = '10s';

-- The active generation: embedding is its model, and generation_id is where its vectors are; NULL for passage_vector. Servers of the release before leave all three at
-- their defaults.
ALTER TABLE responsa.collection
    ADD COLUMN dimensions int NOT NULL DEFAULT 384,
    ADD COLUMN generation_id uuid,
    ADD COLUMN generation int NOT NULL DEFAULT 1, -- the number of the active generation
    ADD COLUMN last_generation int NOT NULL DEFAULT 1; -- the greatest number so far

-- A collection that was never indexed again may have no row: its one generation is what its own columns say.
CREATE TABLE responsa.collection_generation (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    number int NOT NULL CHECK (number > 0),
    id uuid, -- in generation_vector; NULL: its vectors are in passage_vector
    embedding text NOT NULL,
    dimensions int NOT NULL CHECK (dimensions IN (256, 384, 512, 768, 1024, 1536, 3072)),
    state text NOT NULL CHECK (state IN ('building', 'ready', 'active', 'retired', 'failed')),
    complete boolean NOT NULL DEFAULT false, -- whether it has ever been complete; if not, a failed or cancelled operation leaves none of its vectors
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

-- Like passage_vector, for vectors of any of the lengths above. The operators of pgvector's indexes need a fixed length, so each length has its own index.
CREATE TABLE responsa.generation_vector (
    passage_id uuid NOT NULL REFERENCES responsa.passage (id) ON DELETE CASCADE,
    generation_id uuid NOT NULL,
    ordinal int NOT NULL,
    tenant_id text NOT NULL,
    dimensions int NOT NULL,
    kind text NOT NULL CHECK (kind IN ('window', 'sentence', 'item', 'code', 'row', 'heading', 'title')),
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

-- Operations that build or activate a generation. document_id is the operation's own id, which names no document, and version the generation's number: so servers of
-- the release before can list them.
ALTER TABLE responsa.operation
    ADD COLUMN kind text NOT NULL DEFAULT 'ingest' CONSTRAINT operation_kind_check CHECK (kind IN ('ingest', 'reindex')),
    ADD COLUMN collection_id text CONSTRAINT operation_collection_check CHECK (kind = 'ingest' OR collection_id IS NOT NULL);
CREATE UNIQUE INDEX operation_reindexing ON responsa.operation (tenant_id, collection_id) WHERE kind = 'reindex' AND stage <> 'done';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['collection_generation', 'generation_vector'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.%I TO responsa_app', name);
    END LOOP;
END
$$;
CREATE POLICY search_reads ON responsa.generation_vector FOR SELECT TO responsa_search USING (true);
GRANT SELECT ON responsa.generation_vector TO responsa_search;

-- Like search_nearest_within, for these generations; all of them must have vectors as long as `wanted`.
CREATE FUNCTION responsa.search_generations(
    tenant text, generations uuid[], wanted halfvec, most int, breadth int, documents uuid[], exact boolean)
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
        IF exact THEN
            RETURN QUERY
                WITH within AS MATERIALIZED (
                    SELECT p.id
                    FROM unnest(documents) AS d (id)
                    JOIN responsa.passage AS p ON p.document_id = d.id
                    WHERE p.tenant_id = tenant AND p.live
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
                        AND ($5 IS NULL OR p.document_id IN (SELECT unnest($5))))
                ORDER BY v.embedding::halfvec(%1$s) <=> $3::halfvec(%1$s)
                LIMIT $4
            )
            SELECT DISTINCT nearest.id FROM nearest$statement$, vector_dims(wanted))
            USING tenant, generations, wanted, most, documents;
    END
    $$;

-- A function's owner must be allowed to create in its schema at the moment it is given away.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
ALTER FUNCTION responsa.search_generations(text, uuid[], halfvec, int, int, uuid[], boolean) OWNER TO responsa_search;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
SET LOCAL ROLE responsa_search;
REVOKE ALL ON FUNCTION responsa.search_generations(text, uuid[], halfvec, int, int, uuid[], boolean) FROM public;
GRANT EXECUTE ON FUNCTION responsa.search_generations(text, uuid[], halfvec, int, int, uuid[], boolean) TO responsa_app;
RESET ROLE;
