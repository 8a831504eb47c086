-- The two functions that search, now also within given documents. The documents that a filter selects are found first (their rows are small), then words and
-- vectors are searched within them: before the limit, so that a rare document is found among many. `documents` NULL: all. Servers of the release before call
-- the functions of 0004.

CREATE FUNCTION responsa.search_lexical_within(
    tenant text, collections text[], wanted tsquery, queries tsquery[], weights real[], mean_length real, most int, documents uuid[])
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, responsa, public, pg_temp
    SET plan_cache_mode = force_custom_plan -- the plan depends on the number of documents
    SET enable_seqscan = off
    AS $$
    BEGIN
        IF tenant IS DISTINCT FROM responsa.current_tenant() THEN
            RAISE insufficient_privilege USING MESSAGE = 'a search names another tenant than its transaction';
        END IF;
        IF documents IS NULL THEN
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
            RETURN;
        END IF;
        RETURN QUERY
            SELECT p.id
            FROM unnest(documents) AS d (id)
            JOIN responsa.passage AS p ON p.document_id = d.id
            WHERE p.tenant_id = tenant
                AND p.live
                AND (collections IS NULL OR p.collection_id = ANY (collections))
                AND p.lexemes @@ wanted
            ORDER BY (SELECT sum(t.weight) FROM unnest(queries, weights) AS t (query, weight) WHERE p.lexemes @@ t.query)
                / (0.7 + 0.3 * p.length / mean_length) DESC, p.id
            LIMIT most;
    END
    $$;

-- PostgreSQL knows the settings of pgvector once a session has used the extension.
DO $$
BEGIN
    PERFORM '[1]'::vector;
END
$$;

-- `exact`: compare all vectors of the documents, instead of following the graph until it has passed enough of them. The graph passes few vectors of few documents.
CREATE FUNCTION responsa.search_nearest_within(
    tenant text, collections text[], others text[], wanted halfvec, most int, breadth int, documents uuid[], exact boolean)
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
                    WHERE p.tenant_id = tenant
                        AND p.live
                        AND (collections IS NULL OR p.collection_id = ANY (collections))
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
                            -- The OR keeps the planner from a join, in which it would read all documents for each vector. As it is, the documents are hashed once.
                            AND (documents IS NULL OR p.document_id IN (SELECT unnest(documents)))
                    )
                ORDER BY v.embedding <=> wanted
                LIMIT most
            )
            SELECT DISTINCT nearest.id FROM nearest;
    END
    $$;

GRANT CREATE ON SCHEMA responsa TO responsa_search;
ALTER FUNCTION responsa.search_lexical_within(text, text[], tsquery, tsquery[], real[], real, int, uuid[]) OWNER TO responsa_search;
ALTER FUNCTION responsa.search_nearest_within(text, text[], text[], halfvec, int, int, uuid[], boolean) OWNER TO responsa_search;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'search_lexical_within(text, text[], tsquery, tsquery[], real[], real, int, uuid[])',
        'search_nearest_within(text, text[], text[], halfvec, int, int, uuid[], boolean)'
    ] LOOP
        EXECUTE 'SET LOCAL ROLE responsa_search';
        EXECUTE format('REVOKE ALL ON FUNCTION responsa.%s FROM public', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION responsa.%s TO responsa_app', signature);
        EXECUTE 'RESET ROLE';
    END LOOP;
END
$$;
