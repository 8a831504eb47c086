-- The readers of collections, faster and closed. Servers of the release before name no caller in their transactions: from here on, they read nothing that has readers.
SET LOCAL lock_timeout = '10s';

-- 'user', 'admin', 'service', 'system' or 'none', see 0027. '': the session names no caller and reads nothing, as do those of servers of the release before.
CREATE OR REPLACE FUNCTION responsa.unrestricted() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('responsa.role', true), '') = 'system';

-- A transaction that searches computes what its reader may read once, at its beginning: responsa.readable and responsa.subjects hold it, and responsa.known_reader says whose it is.
CREATE FUNCTION responsa.reader() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN current_setting('responsa.tenant_id', true) || '/' || current_setting('responsa.user_id', true) || '/' || current_setting('responsa.role', true);

CREATE OR REPLACE FUNCTION responsa.readable_collections() RETURNS text[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan -- planned once a session
    AS $$
    DECLARE
        tenant CONSTANT text := responsa.current_tenant();
        acting CONSTANT uuid := responsa.acting_user();
        acting_as CONSTANT text := responsa.acting_role();
    BEGIN
        IF current_setting('responsa.known_reader', true) = responsa.reader() THEN
            RETURN current_setting('responsa.readable')::text[];
        END IF;
        RETURN ARRAY(
            SELECT c.id FROM responsa.collection AS c WHERE c.tenant_id = tenant AND c.owner_id = acting
            UNION
            SELECT r.collection_id FROM responsa.collection_reader AS r WHERE r.tenant_id = tenant AND r.user_id = acting
            UNION
            SELECT r.collection_id FROM responsa.collection_reader AS r
            WHERE r.tenant_id = tenant AND r.user_id IS NULL AND (r.role = acting_as OR (r.role IS NULL AND acting_as NOT IN ('none', ''))));
    END
    $$;
CREATE OR REPLACE FUNCTION responsa.readable_subjects() RETURNS text[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        tenant CONSTANT text := responsa.current_tenant();
        acting CONSTANT uuid := responsa.acting_user();
    BEGIN
        IF responsa.acting_role() IN ('admin', 'service', 'system') THEN
            RETURN NULL;
        END IF;
        IF current_setting('responsa.known_reader', true) = responsa.reader() THEN
            RETURN current_setting('responsa.subjects')::text[];
        END IF;
        RETURN ARRAY['', 'users/' || acting] || ARRAY(SELECT u.subject FROM responsa.app_user AS u WHERE u.tenant_id = tenant AND u.id = acting AND u.subject <> '');
    END
    $$;
CREATE OR REPLACE FUNCTION responsa.hides_subjects(tenant text, collections text[]) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT tenant = responsa.current_tenant() AND EXISTS (
            SELECT FROM responsa.subject_stat AS s
            WHERE s.tenant_id = tenant AND s.passages > 0 AND s.subject <> ALL ((SELECT responsa.readable_subjects())::text[])
                AND s.collection_id IN (SELECT unnest(responsa.readable_collections())) AND (collections IS NULL OR s.collection_id = ANY (collections)))
    $$;

-- To be called at the beginning of a transaction that searches and changes nothing.
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

-- PostgreSQL knows the settings of pgvector once a session has used the extension.
DO $$
DECLARE
    signature text;
    before text;
    after text;
BEGIN
    PERFORM '[1]'::vector;
    FOREACH signature IN ARRAY ARRAY[
        'search_lexical_within(text, text[], tsquery, tsquery[], real[], real, int, uuid[])',
        'search_nearest_within(text, text[], text[], halfvec, int, int, uuid[], boolean)',
        'search_generations(text, uuid[], halfvec, int, int, uuid[], boolean)'
    ] LOOP
        before := pg_get_functiondef(('responsa.' || signature)::regprocedure);
        after := replace(before, 'subjects text[] := responsa.readable_subjects();', 'subjects text[] := responsa.searched_subjects();');
        IF after = before THEN
            RAISE EXCEPTION 'responsa.% is not as migration 0027 made it', signature;
        END IF;
        EXECUTE after;
    END LOOP;
END
$$;

-- The names of all collections that the caller sees; see collection_name, which reads one of them.
CREATE FUNCTION responsa.collection_names() RETURNS TABLE (id text, name text)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
        SELECT c.id, CASE
            WHEN (SELECT responsa.unrestricted()) OR c.owner_id = (SELECT responsa.acting_user()) THEN coalesce(c.slug, c.id)
            WHEN c.id IN (
                SELECT coalesce(own.slug, own.id) FROM responsa.collection AS own
                WHERE own.tenant_id = responsa.current_tenant() AND own.owner_id = (SELECT responsa.acting_user()))
                THEN responsa.other_name(c.tenant_id, c.id)
            ELSE c.id
            END
        FROM responsa.collection AS c WHERE c.tenant_id = responsa.current_tenant()
    $$;
CREATE OR REPLACE FUNCTION responsa.collection_name(wanted text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$ SELECT n.name FROM responsa.collection_names() AS n WHERE n.id = wanted $$;

-- The collections are hashed once a statement, and only if the caller does not read all: comparing each row with an array takes time for each collection.
ALTER POLICY access ON responsa.collection USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR id IN (SELECT unnest(responsa.readable_collections())));
ALTER POLICY access ON responsa.collection_reader USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR collection_id IN (SELECT unnest(responsa.readable_collections())));
ALTER POLICY access ON responsa.collection_generation USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR collection_id IN (SELECT unnest(responsa.readable_collections())));
ALTER POLICY access ON responsa.document USING (
    (SELECT responsa.unrestricted()) OR (collection_id IN (SELECT unnest(responsa.readable_collections()))
        AND (subject = '' OR subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
ALTER POLICY access ON responsa.passage USING (
    (SELECT responsa.unrestricted()) OR (collection_id IN (SELECT unnest(responsa.readable_collections()))
        AND (subject = '' OR subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
ALTER POLICY access ON responsa.subject_stat USING (
    (SELECT responsa.unrestricted()) OR (collection_id IN (SELECT unnest(responsa.readable_collections()))
        AND (subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
ALTER POLICY access ON responsa.subject_term_stat USING (
    (SELECT responsa.unrestricted()) OR (collection_id IN (SELECT unnest(responsa.readable_collections()))
        AND (subject = ANY ((SELECT responsa.readable_subjects())::text[]) OR (SELECT responsa.readable_subjects() IS NULL))));
ALTER POLICY access ON responsa.collection_stat USING (
    (SELECT responsa.unrestricted()) OR collection_id IN (SELECT unnest(responsa.readable_collections())));
ALTER POLICY access ON responsa.term_stat USING (
    (SELECT responsa.unrestricted()) OR collection_id IN (SELECT unnest(responsa.readable_collections())));
ALTER POLICY access ON responsa.passage_vector USING (
    (SELECT responsa.unrestricted()) OR (collection_id IN (SELECT unnest(responsa.readable_collections()))
        AND ((SELECT responsa.hides_subjects(responsa.current_tenant(), NULL)) IS NOT TRUE
            OR EXISTS (SELECT FROM responsa.passage AS p WHERE p.id = passage_vector.passage_id))));
ALTER POLICY access ON responsa.operation USING (
    (SELECT responsa.unrestricted()) OR (SELECT responsa.acting_role()) = 'admin' OR user_id = (SELECT responsa.acting_user())
    OR collection_id IN (SELECT unnest(responsa.readable_collections()))
    OR EXISTS (SELECT FROM responsa.document AS d WHERE d.tenant_id = operation.tenant_id AND d.id = operation.document_id));
