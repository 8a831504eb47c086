-- What the key of a widget reads and asks (docs/adr/0088). Whoever its user is, its calls have the role 'widget' in a transaction: they read the collections that are shared with the
-- user by name, in these no document with a subject, and no turn that another kind of credential has asked.

-- The agent of the key, agents/{id} or agents/{id}/versions/{n}; '': the default agent.
ALTER TABLE responsa.api_key ADD COLUMN agent text NOT NULL DEFAULT ''
    CHECK (agent ~ '^(agents/[a-z0-9][a-z0-9-]{0,62}(/versions/[1-9][0-9]{0,8})?)?$'), ADD CONSTRAINT api_key_agent_of_widget CHECK (widget OR agent = '');

-- Whether a widget has asked. Who takes the turn over reads as the widget does; `role` is then 'user', so that a worker of an earlier release has the least rights.
ALTER TABLE responsa.turn ADD COLUMN widget boolean NOT NULL DEFAULT false;
CREATE POLICY access ON responsa.turn AS RESTRICTIVE TO responsa_app USING ((SELECT responsa.acting_role()) <> 'widget' OR widget);

GRANT CREATE ON SCHEMA responsa TO responsa_search; -- a function's owner must be allowed to create in its schema
SET LOCAL ROLE responsa_search;
-- As in 0003_pre_knowledge.sql. For a widget, neither an owner nor everyone nor a role counts as a reader.
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
        IF acting_as = 'widget' THEN
            RETURN ARRAY(SELECT r.collection_id FROM responsa.collection_reader AS r WHERE r.tenant_id = tenant AND r.user_id = acting);
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
-- As in 0003_pre_knowledge.sql. A widget reads documents without a subject alone.
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
        IF responsa.acting_role() = 'widget' THEN
            RETURN ARRAY[''];
        END IF;
        IF current_setting('responsa.known_reader', true) = responsa.reader() THEN
            RETURN current_setting('responsa.subjects')::text[];
        END IF;
        RETURN ARRAY['', 'users/' || acting] || ARRAY(SELECT u.subject FROM responsa.app_user AS u WHERE u.tenant_id = tenant AND u.id = acting AND u.subject <> '');
    END
    $$;
-- As in 0003_pre_knowledge.sql, with the widget's rule for the readers of deleted collections.
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
                        AND (r.user_id = acting
                            OR (r.user_id IS NULL AND (r.role = acting_as OR (r.role IS NULL AND acting_as NOT IN ('none', '', 'widget')))))))));
    END
    $$;
-- As find_key did, with the agent of a widget's key. Such a key has no more than the role 'user', whatever its user's role.
CREATE FUNCTION responsa.find_caller_of_key(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, expired boolean, revoked boolean, disabled boolean, widget boolean, agent text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    AS $$
        SELECT k.id, k.tenant_id, k.user_id, CASE WHEN k.widget THEN 'user' ELSE coalesce(k.role, u.role) END, coalesce(k.expire_time <= now(), false),
            k.revoke_time IS NOT NULL, u.disable_time IS NOT NULL OR t.suspend_time IS NOT NULL, k.widget, k.agent
        FROM responsa.api_key AS k
        JOIN responsa.app_user AS u ON u.id = k.user_id
        JOIN responsa.tenant AS t ON t.id = k.tenant_id
        WHERE k.secret_sha256 = wanted_sha256
    $$;
-- Servers of earlier releases call this. They would let the key of a widget read what its user reads, so they do not find it.
CREATE OR REPLACE FUNCTION responsa.find_key(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, expired boolean, revoked boolean, disabled boolean, widget boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    AS $$
        SELECT f.id, f.tenant_id, f.user_id, f.role, f.expired, f.revoked, f.disabled, f.widget FROM responsa.find_caller_of_key(wanted_sha256) AS f WHERE NOT f.widget
    $$;
-- How many collections the user of a widget's key reads, and the key does not: the user's own, and those shared with everyone or with the user's role. NULL for every other key. Volatile,
-- so that the statement that makes the key gets the number too.
CREATE FUNCTION responsa.unread_by_widget(key uuid) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$
        SELECT (
            SELECT count(*) FROM responsa.collection AS c
            WHERE c.tenant_id = k.tenant_id
                AND NOT EXISTS (
                    SELECT FROM responsa.collection_reader AS r WHERE r.tenant_id = c.tenant_id AND r.collection_id = c.id AND r.user_id = k.user_id)
                AND (c.owner_id = k.user_id OR EXISTS (
                    SELECT FROM responsa.collection_reader AS r
                    WHERE r.tenant_id = c.tenant_id AND r.collection_id = c.id AND r.user_id IS NULL AND coalesce(r.role, u.role) = u.role)))
        FROM responsa.api_key AS k JOIN responsa.app_user AS u ON u.id = k.user_id
        WHERE k.id = key AND k.widget
    $$;
REVOKE ALL ON FUNCTION responsa.find_caller_of_key, responsa.unread_by_widget FROM public;
GRANT EXECUTE ON FUNCTION responsa.find_caller_of_key, responsa.unread_by_widget TO responsa_app;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;

-- As in 0003_pre_knowledge.sql. A widget's turn may show what the widget may read, and not what its user may.
CREATE OR REPLACE FUNCTION responsa.withheld_from_users(turns uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        reader record;
    BEGIN
        FOR reader IN
            SELECT t.tenant_id, t.user_id, t.widget, array_agg(t.id) AS ids FROM responsa.turn AS t
            WHERE t.id = ANY (turns) AND (t.terminal IS NOT NULL OR cardinality(t.read_documents) > 0)
            GROUP BY t.tenant_id, t.user_id, t.widget
        LOOP
            PERFORM set_config('responsa.tenant_id', reader.tenant_id, true), set_config('responsa.user_id', reader.user_id::text, true),
                set_config('responsa.role', CASE WHEN reader.widget THEN 'widget' ELSE coalesce(responsa.role_of(reader.user_id), 'none') END, true);
            RETURN QUERY SELECT found.id FROM responsa.withheld_turns(reader.ids) AS found (id);
        END LOOP;
    END
    $$;
