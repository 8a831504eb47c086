-- What deleted documents and collections leave behind, so that a deletion does not bring back an answer that was withheld; and the current role decides what a user may read.
SET LOCAL lock_timeout = '10s';

-- Documents that a turn may have read. A document counts as if it were still in its collection; see responsa.last_reader for collections that were deleted as well.
CREATE TABLE responsa.deleted_document (
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    id uuid NOT NULL,
    collection_id text NOT NULL,
    subject text NOT NULL, -- at the deletion
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX deleted_document_of_collection ON responsa.deleted_document (tenant_id, collection_id);

-- The readers of a deleted collection at its deletion, and its owner as one of them. user_id and role: as in collection_reader.
CREATE TABLE responsa.last_reader (
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    collection_id text NOT NULL,
    user_id uuid,
    role text CHECK (role IN ('user', 'admin', 'service')),
    CHECK (num_nonnulls(user_id, role) <= 1),
    UNIQUE NULLS NOT DISTINCT (tenant_id, collection_id, user_id, role),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX last_reader_user ON responsa.last_reader (tenant_id, user_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['deleted_document', 'last_reader'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('CREATE POLICY access ON responsa.%I AS RESTRICTIVE TO responsa_app USING ((SELECT responsa.unrestricted()))', name);
        EXECUTE format('CREATE POLICY search_reads ON responsa.%I FOR SELECT TO responsa_search USING (true)', name);
        EXECUTE format('CREATE POLICY tenant_erasure ON responsa.%I TO CURRENT_USER USING (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON responsa.%I TO responsa_app', name);
        EXECUTE format('GRANT SELECT ON responsa.%I TO responsa_search', name);
    END LOOP;
END
$$;
GRANT UPDATE (subject) ON responsa.deleted_document TO responsa_app;

GRANT CREATE ON SCHEMA responsa TO responsa_search;
SET LOCAL ROLE responsa_search;
-- Those of the documents that the transaction's caller may not read. A deleted document is among them if the caller could not read it if it were still there.
CREATE OR REPLACE FUNCTION responsa.unreadable_documents(wanted uuid[]) RETURNS uuid[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        tenant CONSTANT text := responsa.current_tenant();
        acting CONSTANT uuid := responsa.acting_user();
        acting_as CONSTANT text := responsa.acting_role();
        collections text[];
        subjects text[];
    BEGIN
        IF responsa.unrestricted() OR coalesce(cardinality(wanted), 0) = 0 THEN
            RETURN '{}';
        END IF;
        collections := responsa.readable_collections();
        subjects := responsa.readable_subjects();
        RETURN ARRAY(
            SELECT d.id FROM responsa.document AS d
            WHERE d.tenant_id = tenant AND d.id = ANY (wanted)
                AND (d.collection_id <> ALL (collections) OR (d.subject <> '' AND subjects IS NOT NULL AND d.subject <> ALL (subjects)))
            UNION ALL
            SELECT d.id FROM responsa.deleted_document AS d
            WHERE d.tenant_id = tenant AND d.id = ANY (wanted)
                AND ((d.subject <> '' AND subjects IS NOT NULL AND d.subject <> ALL (subjects)) OR (d.collection_id <> ALL (collections) AND NOT EXISTS (
                    SELECT FROM responsa.last_reader AS r
                    WHERE r.tenant_id = tenant AND r.collection_id = d.collection_id
                        AND (r.user_id = acting OR (r.user_id IS NULL AND (r.role = acting_as OR (r.role IS NULL AND acting_as NOT IN ('none', '')))))))));
    END
    $$;
CREATE FUNCTION responsa.role_of(wanted uuid) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT u.role FROM responsa.app_user AS u WHERE u.id = wanted $$;
REVOKE ALL ON FUNCTION responsa.role_of(uuid) FROM public;
GRANT EXECUTE ON FUNCTION responsa.role_of(uuid) TO responsa_app, responsa_log;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;

-- Those of the turns that have read something that their users may not read, over all tenants. For turns that run, and for streams that are open.
DROP FUNCTION responsa.withheld_from_users(uuid[], text[]);
CREATE FUNCTION responsa.withheld_from_users(turns uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        reader record;
    BEGIN
        FOR reader IN
            SELECT t.tenant_id, t.user_id, array_agg(t.id) AS ids FROM responsa.turn AS t
            WHERE t.id = ANY (turns) AND (t.terminal IS NOT NULL OR cardinality(t.read_documents) > 0)
            GROUP BY t.tenant_id, t.user_id
        LOOP
            PERFORM set_config('responsa.tenant_id', reader.tenant_id, true), set_config('responsa.user_id', reader.user_id::text, true),
                set_config('responsa.role', coalesce(responsa.role_of(reader.user_id), 'none'), true);
            RETURN QUERY SELECT found.id FROM responsa.withheld_turns(reader.ids) AS found (id);
        END LOOP;
    END
    $$;
