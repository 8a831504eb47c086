-- A search of few passages among many compares all of their vectors, also without subjects: the graph holds the vectors of all tenants and collections, so a search in it passes
-- many of others, takes longer, and stops before it has found enough.
SELECT '[1]'::halfvec; -- loads pgvector, so that PostgreSQL knows its settings
GRANT CREATE ON SCHEMA responsa TO responsa_search; -- a function's owner must be allowed to create in its schema
SET LOCAL ROLE responsa_search;
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
CREATE OR REPLACE FUNCTION responsa.search_nearest_within(
    tenant text, collections text[], others text[], wanted halfvec, most int, breadth int, documents uuid[], exact boolean)
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, responsa, public, pg_temp
    SET plan_cache_mode = force_custom_plan
    SET hnsw.iterative_scan = relaxed_order
    SET hnsw.ef_search = 100
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
                    SELECT p.id
                    FROM unnest(documents) AS d (id)
                    JOIN responsa.passage AS p ON p.document_id = d.id
                    WHERE p.tenant_id = tenant
                        AND p.live
                        AND (collections IS NULL OR p.collection_id = ANY (collections))
                        AND (subjects IS NULL OR p.subject = ANY (subjects))
                        AND p.collection_id <> ALL (others)
                    UNION ALL
                    SELECT p.id
                    FROM responsa.passage AS p
                    WHERE documents IS NULL
                        AND p.tenant_id = tenant
                        AND p.live
                        AND (collections IS NULL OR p.collection_id = ANY (collections))
                        AND (subjects IS NULL OR p.subject = ANY (subjects))
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
                WHERE v.tenant_id = tenant
                    AND (collections IS NULL OR v.collection_id = ANY (collections))
                    AND v.collection_id <> ALL (others)
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
CREATE OR REPLACE FUNCTION responsa.search_generations(
    tenant text, generations uuid[], wanted halfvec, most int, breadth int, documents uuid[], exact boolean)
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, responsa, public, pg_temp
    SET plan_cache_mode = force_custom_plan
    SET hnsw.iterative_scan = relaxed_order
    SET hnsw.ef_search = 100
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
                    SELECT p.id
                    FROM unnest(documents) AS d (id)
                    JOIN responsa.passage AS p ON p.document_id = d.id
                    WHERE p.tenant_id = tenant AND p.live
                        AND (readable IS NULL OR p.collection_id = ANY (readable))
                        AND (subjects IS NULL OR p.subject = ANY (subjects))
                    UNION ALL
                    SELECT p.id
                    FROM responsa.passage AS p
                    WHERE documents IS NULL AND p.tenant_id = tenant AND p.live
                        AND (readable IS NULL OR p.collection_id = ANY (readable))
                        AND (subjects IS NULL OR p.subject = ANY (subjects))
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
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
