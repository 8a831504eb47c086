-- Readers of collections and documents. Collections belong to their makers and are shared with readers; a document with a subject is read by that subject alone.
-- Each transaction of responsa_app names its caller (responsa.user_id, responsa.role) in addition to its tenant. Row-level security and the functions that search use it.
SET LOCAL lock_timeout = '10s';

-- 'user', 'admin' or 'service': the caller's role. 'system': the server itself, in a job or after it has checked what the caller may do. 'none': nobody yet, as connections
-- begin. '': a server of the release before, which knows no private collections.
CREATE FUNCTION responsa.acting_role() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('responsa.role', true), '');
CREATE FUNCTION responsa.acting_user() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('responsa.user_id', true), '')::uuid;
-- Whether the transaction reads the whole tenant.
CREATE FUNCTION responsa.unrestricted() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('responsa.role', true), '') IN ('', 'system');

-- id is what other tables refer to, unique in a tenant. slug is the id that the owner chose, unique among the owner's; NULL: the same as id. New collections have an id with
-- a random end, whether the slug is free or not: an id shows nothing about other people's collections.
ALTER TABLE responsa.collection ADD COLUMN slug text CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$');
CREATE UNIQUE INDEX collection_of_owner ON responsa.collection (tenant_id, owner_id, coalesce(slug, id));
CREATE INDEX collection_called ON responsa.collection (tenant_id, coalesce(slug, id));
-- The other name of a collection whose id equals its slug, for readers who have a collection with that slug themselves.
CREATE FUNCTION responsa.other_name(tenant text, id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN left(id, 54) || '-' || left(md5(tenant || '/' || id), 8);

-- A reader of a collection: a user, all users with a role, or (neither) everyone in the tenant.
CREATE TABLE responsa.collection_reader (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    user_id uuid,
    role text CHECK (role IN ('user', 'admin', 'service')),
    create_time timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(user_id, role) <= 1),
    UNIQUE NULLS NOT DISTINCT (tenant_id, collection_id, user_id, role),
    FOREIGN KEY (tenant_id, collection_id) REFERENCES responsa.collection (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX collection_reader_user ON responsa.collection_reader (tenant_id, user_id);

-- '' for a document of all readers of its collection. Otherwise a user's name, users/{uuid}, or the subject that users have in app_user.
ALTER TABLE responsa.app_user ADD COLUMN subject text NOT NULL DEFAULT '' CHECK (octet_length(subject) <= 200);
GRANT UPDATE (subject) ON responsa.app_user TO responsa_app;
ALTER TABLE responsa.document ADD COLUMN subject text NOT NULL DEFAULT '' CHECK (octet_length(subject) <= 200);
ALTER TABLE responsa.passage ADD COLUMN subject text NOT NULL DEFAULT ''; -- the document's
CREATE INDEX passage_of_subject ON responsa.passage (tenant_id, collection_id, subject) WHERE live;

-- Like collection_stat and term_stat, which count passages without a subject alone: so the weight of a word shows nothing about documents that the caller may not read.
CREATE TABLE responsa.subject_stat (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    subject text NOT NULL CHECK (subject <> ''),
    passages bigint NOT NULL DEFAULT 0,
    terms bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, collection_id, subject)
) WITH (fillfactor = 50);
CREATE TABLE responsa.subject_term_stat (
    tenant_id text NOT NULL,
    collection_id text NOT NULL,
    subject text NOT NULL CHECK (subject <> ''),
    term text NOT NULL,
    passages int NOT NULL,
    PRIMARY KEY (tenant_id, term, collection_id, subject)
) WITH (fillfactor = 80);
CREATE INDEX subject_term_stat_unused ON responsa.subject_term_stat (tenant_id, collection_id) WHERE passages <= 0;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['collection_reader', 'subject_stat', 'subject_term_stat'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.%I TO responsa_app', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['collection', 'collection_reader', 'collection_stat', 'subject_stat'] LOOP
        EXECUTE format('CREATE POLICY search_reads ON responsa.%I FOR SELECT TO responsa_search USING (true)', name);
    END LOOP;
END
$$;
GRANT SELECT (tenant_id, id, owner_id) ON responsa.collection TO responsa_search;
GRANT SELECT (tenant_id, collection_id, user_id, role) ON responsa.collection_reader TO responsa_search;
GRANT SELECT (tenant_id, collection_id, passages) ON responsa.collection_stat TO responsa_search;
GRANT SELECT (tenant_id, collection_id, subject, passages) ON responsa.subject_stat TO responsa_search;

-- Collections that exist stay readable by the tenant. While row security is forced, the owner sees no rows.
ALTER TABLE responsa.collection NO FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.collection_reader NO FORCE ROW LEVEL SECURITY;
INSERT INTO responsa.collection_reader (tenant_id, collection_id) SELECT tenant_id, id FROM responsa.collection;
ALTER TABLE responsa.collection_reader FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.collection FORCE ROW LEVEL SECURITY;

-- So do those that servers of the release before make from now on: such a server sets no slug.
CREATE FUNCTION responsa.collection_made_for_all() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO responsa.collection_reader (tenant_id, collection_id) VALUES (NEW.tenant_id, NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER collection_made_for_all AFTER INSERT ON responsa.collection
    FOR EACH ROW WHEN (NEW.slug IS NULL) EXECUTE FUNCTION responsa.collection_made_for_all();

-- The collections that the transaction's caller may read. It runs as responsa_search, because the policy of collection calls it.
CREATE FUNCTION responsa.readable_collections() RETURNS text[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan -- planned once a session: every statement under the policies below calls it
    AS $$
    DECLARE
        tenant CONSTANT text := responsa.current_tenant();
        acting CONSTANT uuid := responsa.acting_user();
        acting_as CONSTANT text := responsa.acting_role();
    BEGIN
        RETURN ARRAY(
            SELECT c.id FROM responsa.collection AS c WHERE c.tenant_id = tenant AND c.owner_id = acting
            UNION
            SELECT r.collection_id FROM responsa.collection_reader AS r WHERE r.tenant_id = tenant AND r.user_id = acting
            UNION
            SELECT r.collection_id FROM responsa.collection_reader AS r
            WHERE r.tenant_id = tenant AND r.user_id IS NULL AND (r.role = acting_as OR (r.role IS NULL AND acting_as <> 'none')));
    END
    $$;
-- The subjects whose documents the caller may read, '' among them; NULL: all.
CREATE FUNCTION responsa.readable_subjects() RETURNS text[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        tenant CONSTANT text := responsa.current_tenant();
        acting CONSTANT uuid := responsa.acting_user();
    BEGIN
        IF responsa.acting_role() IN ('admin', 'service', 'system', '') THEN
            RETURN NULL;
        END IF;
        RETURN ARRAY['', 'users/' || acting] || ARRAY(SELECT u.subject FROM responsa.app_user AS u WHERE u.tenant_id = tenant AND u.id = acting AND u.subject <> '');
    END
    $$;

-- What a collection is called in the names that the caller gets. An owner's collections have their slugs; others have their ids.
CREATE FUNCTION responsa.collection_name(wanted text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
        SELECT CASE
            WHEN c.owner_id = responsa.acting_user() OR responsa.unrestricted() THEN coalesce(c.slug, c.id)
            WHEN EXISTS (
                SELECT FROM responsa.collection AS own
                WHERE own.tenant_id = c.tenant_id AND own.owner_id = responsa.acting_user() AND coalesce(own.slug, own.id) = c.id)
                THEN responsa.other_name(c.tenant_id, c.id)
            ELSE c.id
            END
        FROM responsa.collection AS c WHERE c.tenant_id = responsa.current_tenant() AND c.id = wanted
    $$;
-- The id of the collection that the caller means by a name; NULL if there is no such collection for the caller. The caller's own collections come first, then the one with
-- this id, then those that their owners call so, the oldest first.
CREATE FUNCTION responsa.named_collection(wanted text) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        found text;
    BEGIN
        SELECT c.id INTO found
        FROM responsa.collection AS c
        WHERE c.tenant_id = responsa.current_tenant() AND (c.id = wanted OR coalesce(c.slug, c.id) = wanted)
        ORDER BY (c.owner_id = responsa.acting_user() AND coalesce(c.slug, c.id) = wanted) IS NOT TRUE, c.id <> ALL (responsa.readable_collections()), c.id <> wanted,
            c.create_time, c.id
        LIMIT 1;
        IF found IS NULL THEN
            SELECT c.id INTO found FROM responsa.collection AS c
            WHERE c.tenant_id = responsa.current_tenant() AND coalesce(c.slug, c.id) = c.id AND responsa.other_name(c.tenant_id, c.id) = wanted;
        END IF;
        RETURN found;
    END
    $$;

-- The same, and NULL too if the caller may not read what is in the collection.
CREATE FUNCTION responsa.readable_collection(wanted text) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        found text := responsa.named_collection(wanted);
    BEGIN
        RETURN CASE WHEN responsa.unrestricted() OR found = ANY (responsa.readable_collections()) THEN found END;
    END
    $$;

-- The functions that search keep their arguments, and restrict them to what the caller may read.
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

-- Whether the collections (NULL: all that the caller may read) have documents of subjects that the caller may not read. For a search whose vectors are elsewhere.
CREATE FUNCTION responsa.hides_subjects(tenant text, collections text[]) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT tenant = responsa.current_tenant() AND EXISTS (
            SELECT FROM responsa.subject_stat AS s
            WHERE s.tenant_id = tenant AND s.passages > 0 AND s.subject <> ALL (responsa.readable_subjects())
                AND s.collection_id = ANY (responsa.readable_collections()) AND (collections IS NULL OR s.collection_id = ANY (collections)))
    $$;

CREATE OR REPLACE FUNCTION responsa.search_lexical_within(
    tenant text, collections text[], wanted tsquery, queries tsquery[], weights real[], mean_length real, most int, documents uuid[])
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, responsa, public, pg_temp
    SET plan_cache_mode = force_custom_plan -- the plan depends on the number of documents
    SET enable_seqscan = off
    AS $$
    DECLARE
        subjects text[] := responsa.readable_subjects();
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
                SELECT p.id
                FROM responsa.passage AS p
                WHERE p.tenant_id = tenant
                    AND p.live
                    AND (collections IS NULL OR p.collection_id = ANY (collections))
                    AND (subjects IS NULL OR p.subject = ANY (subjects))
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
                AND (subjects IS NULL OR p.subject = ANY (subjects))
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
        subjects text[] := responsa.readable_subjects();
        readable text[];
    BEGIN
        IF tenant IS DISTINCT FROM responsa.current_tenant() THEN
            RAISE insufficient_privilege USING MESSAGE = 'a search names another tenant than its transaction';
        END IF;
        IF NOT responsa.unrestricted() THEN
            readable := responsa.readable_collections();
            collections := CASE WHEN collections IS NULL THEN readable ELSE ARRAY(SELECT unnest(collections) INTERSECT SELECT unnest(readable)) END;
        END IF;
        IF exact OR (documents IS NULL AND subjects IS NOT NULL AND responsa.few_readable(tenant, collections, subjects)) THEN
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
                        AND p.collection_id = ANY (collections)
                        AND p.subject = ANY (subjects)
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
        subjects text[] := responsa.readable_subjects();
        readable text[]; -- NULL: all
    BEGIN
        IF tenant IS DISTINCT FROM responsa.current_tenant() THEN
            RAISE insufficient_privilege USING MESSAGE = 'a search names another tenant than its transaction';
        END IF;
        IF NOT responsa.unrestricted() THEN
            readable := responsa.readable_collections();
        END IF;
        IF exact OR (documents IS NULL AND subjects IS NOT NULL AND responsa.few_readable(tenant, readable, subjects)) THEN
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
                    WHERE documents IS NULL AND p.tenant_id = tenant AND p.live AND p.collection_id = ANY (readable) AND p.subject = ANY (subjects)
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

-- The functions of 0004, which no server calls any more, would search for everybody.
DROP FUNCTION responsa.search_lexical(text, text[], tsquery, tsquery[], real[], real, int);
DROP FUNCTION responsa.search_nearest(text, text[], text[], halfvec, int, int);

-- A function's owner must be allowed to create in its schema at the moment it is given away.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY['readable_collections()', 'readable_subjects()', 'few_readable(text, text[], text[])', 'hides_subjects(text, text[])'] LOOP
        EXECUTE format('ALTER FUNCTION responsa.%s OWNER TO responsa_search', signature);
        EXECUTE 'SET LOCAL ROLE responsa_search';
        EXECUTE format('REVOKE ALL ON FUNCTION responsa.%s FROM public', signature);
        IF signature NOT LIKE 'few%' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION responsa.%s TO responsa_app', signature);
        END IF;
        EXECUTE 'RESET ROLE';
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;

-- Each subquery is evaluated once a statement, and the second one only if the first is false.
-- Administrators see all collections, because they manage them, but not what is in them.
CREATE POLICY access ON responsa.collection AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR id = ANY ((SELECT responsa.readable_collections())::text[]));
CREATE POLICY access ON responsa.collection_reader AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR collection_id = ANY ((SELECT responsa.readable_collections())::text[]));
CREATE POLICY access ON responsa.collection_generation AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR collection_id = ANY ((SELECT responsa.readable_collections())::text[]));
CREATE POLICY access ON responsa.document AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (collection_id = ANY ((SELECT responsa.readable_collections())::text[])
        AND (subject = '' OR subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
CREATE POLICY access ON responsa.passage AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (collection_id = ANY ((SELECT responsa.readable_collections())::text[])
        AND (subject = '' OR subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
CREATE POLICY access ON responsa.subject_stat AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (collection_id = ANY ((SELECT responsa.readable_collections())::text[])
        AND (subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
CREATE POLICY access ON responsa.subject_term_stat AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (collection_id = ANY ((SELECT responsa.readable_collections())::text[])
        AND (subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
CREATE POLICY access ON responsa.collection_stat AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR collection_id = ANY ((SELECT responsa.readable_collections())::text[]));
CREATE POLICY access ON responsa.term_stat AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR collection_id = ANY ((SELECT responsa.readable_collections())::text[]));
-- What belongs to a document or a passage is seen with it: its own policies apply within these conditions.
CREATE POLICY access ON responsa.document_version AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted())
    OR EXISTS (SELECT FROM responsa.document AS d WHERE d.tenant_id = document_version.tenant_id AND d.id = document_version.document_id));
-- A search reads hundreds of vectors, so their passages are looked up only if the caller may not read all subjects in the collections.
CREATE POLICY access ON responsa.passage_vector AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (collection_id = ANY ((SELECT responsa.readable_collections())::text[])
        AND ((SELECT responsa.hides_subjects(responsa.current_tenant(), NULL)) IS NOT TRUE
            OR EXISTS (SELECT FROM responsa.passage AS p WHERE p.id = passage_vector.passage_id))));
CREATE POLICY access ON responsa.generation_vector AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR EXISTS (SELECT FROM responsa.passage AS p WHERE p.id = generation_vector.passage_id));
-- An operation is visible to its caller, to administrators, and to the readers of its document or collection.
CREATE POLICY access ON responsa.operation AS RESTRICTIVE TO responsa_app USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR user_id = (SELECT responsa.acting_user())
    OR collection_id = ANY ((SELECT responsa.readable_collections())::text[])
    OR EXISTS (SELECT FROM responsa.document AS d WHERE d.tenant_id = operation.tenant_id AND d.id = operation.document_id));
