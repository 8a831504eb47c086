-- What a turn has read. Where its user may no longer read one of these documents, the server shows a refusal in place of the answer; the log stays as it is.
SET LOCAL lock_timeout = '10s';

-- The versions of documents that reached a model or the answer: read_versions[i] is the version of read_documents[i]. A version may occur more than once. NULL: a server of
-- the release before ran the turn. Then the terminal event names what it has read.
ALTER TABLE responsa.turn ADD COLUMN read_documents uuid[], ADD COLUMN read_versions int[];
GRANT UPDATE (read_documents, read_versions) ON responsa.turn TO responsa_app, responsa_log;
-- The same for a summary. NULL: everything that the conversation's turns have read.
ALTER TABLE responsa.conversation_summary ADD COLUMN read_documents uuid[], ADD COLUMN read_versions int[];

CREATE POLICY search_reads ON responsa.document FOR SELECT TO responsa_search USING (true);
GRANT SELECT (tenant_id, id, collection_id, subject) ON responsa.document TO responsa_search;

-- Those of the documents that exist and that the transaction's caller may not read. A deleted document is not among them.
CREATE FUNCTION responsa.unreadable_documents(wanted uuid[]) RETURNS uuid[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        tenant CONSTANT text := responsa.current_tenant();
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
                AND (d.collection_id <> ALL (collections) OR (d.subject <> '' AND subjects IS NOT NULL AND d.subject <> ALL (subjects))));
    END
    $$;

-- What a turn has read. The names of documents in events are ASCII text.
CREATE FUNCTION responsa.documents_read(recorded uuid[], terminal bytea) RETURNS uuid[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT CASE WHEN recorded IS NOT NULL THEN recorded WHEN terminal IS NULL THEN '{}' ELSE ARRAY(
            SELECT DISTINCT m.found[1]::uuid
            FROM regexp_matches(encode(terminal, 'escape'), 'documents/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})', 'g') AS m (found)) END
    $$;

-- Those of the turns that have read something that the transaction's caller may not read.
CREATE FUNCTION responsa.withheld_turns(wanted uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        lost uuid[];
    BEGIN
        IF responsa.unrestricted() THEN
            RETURN;
        END IF;
        lost := responsa.unreadable_documents(ARRAY(
            SELECT DISTINCT r.id FROM responsa.turn AS t CROSS JOIN LATERAL unnest(responsa.documents_read(t.read_documents, t.terminal)) AS r (id)
            WHERE t.tenant_id = responsa.current_tenant() AND t.id = ANY (wanted)));
        IF cardinality(lost) = 0 THEN
            RETURN;
        END IF;
        RETURN QUERY
            SELECT t.id FROM responsa.turn AS t
            WHERE t.tenant_id = responsa.current_tenant() AND t.id = ANY (wanted) AND responsa.documents_read(t.read_documents, t.terminal) && lost;
    END
    $$;

-- The same over all tenants, each turn for its own user in one of the given roles. For turns that run, and for streams that are open.
CREATE FUNCTION responsa.withheld_from_users(turns uuid[], roles text[]) RETURNS TABLE (turn_id uuid, role text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
    DECLARE
        reader record;
    BEGIN
        FOR reader IN
            SELECT t.tenant_id, t.user_id, w.role, array_agg(t.id) AS ids
            FROM unnest(turns, roles) AS w (id, role) JOIN responsa.turn AS t ON t.id = w.id
            WHERE t.id = ANY (turns) AND (t.terminal IS NOT NULL OR cardinality(t.read_documents) > 0)
            GROUP BY t.tenant_id, t.user_id, w.role
        LOOP
            PERFORM set_config('responsa.tenant_id', reader.tenant_id, true), set_config('responsa.user_id', reader.user_id::text, true),
                set_config('responsa.role', reader.role, true);
            RETURN QUERY SELECT found.id, reader.role FROM responsa.withheld_turns(reader.ids) AS found (id);
        END LOOP;
    END
    $$;

-- A function's owner must be allowed to create in its schema at the moment it is given away.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
ALTER FUNCTION responsa.unreadable_documents(uuid[]) OWNER TO responsa_search;
SET LOCAL ROLE responsa_search;
REVOKE ALL ON FUNCTION responsa.unreadable_documents(uuid[]) FROM public;
GRANT EXECUTE ON FUNCTION responsa.unreadable_documents(uuid[]) TO responsa_app, responsa_log;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
