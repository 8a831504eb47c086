-- The audit log, and the erasing of users and tenants.

-- What administrators and services did, and refusals.
CREATE TABLE responsa.audit_event (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    actor text NOT NULL, -- a user's name, "anonymous", or "local" (a command on the server's machine)
    action text NOT NULL,
    resource_name text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    address text NOT NULL DEFAULT '', -- the caller's; '' for commands on the server's machine
    call_id text NOT NULL DEFAULT '',
    outcome text NOT NULL DEFAULT 'OK', -- or the reason of a refusal
    on_behalf_of text NOT NULL DEFAULT '', -- the user for whom the actor acted; '' for the actor itself
    affected_user uuid, -- NULL if the act affected nobody, or the actor alone
    added_readers text[] NOT NULL DEFAULT '{}', -- of a collection: users/{uuid}, groups/{uuid}, a role such as user, or '' for everyone in the tenant; of a group: its members
    removed_readers text[] NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_event_of_tenant ON responsa.audit_event (tenant_id, create_time DESC, id DESC);
CREATE INDEX audit_event_time ON responsa.audit_event (create_time);
CREATE INDEX audit_event_of_actor ON responsa.audit_event (tenant_id, actor);
CREATE INDEX audit_event_on_behalf ON responsa.audit_event (tenant_id, on_behalf_of) WHERE on_behalf_of <> '';
CREATE INDEX audit_event_of_resource ON responsa.audit_event (tenant_id, resource_name) WHERE actor = 'anonymous';
CREATE INDEX audit_event_affecting ON responsa.audit_event (tenant_id, affected_user, create_time DESC, id DESC) WHERE affected_user IS NOT NULL;
ALTER TABLE responsa.audit_event ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.audit_event TO responsa_app
    USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant());
-- No role of the server may change or delete events; responsa_app may only add and read them. Functions that run as the table's owner delete old ones and remove addresses.
-- The policies let the owner see nothing else, and prune_audit_events keeps 30 days whatever its caller asks for.
CREATE POLICY owner_finds_old ON responsa.audit_event FOR SELECT TO CURRENT_USER USING (create_time < now() - interval '30 days');
CREATE POLICY owner_prunes ON responsa.audit_event FOR DELETE TO CURRENT_USER USING (create_time < now() - interval '30 days');
CREATE POLICY erasure_finds ON responsa.audit_event FOR SELECT TO CURRENT_USER USING (tenant_id = responsa.current_tenant());
CREATE POLICY erasure_blanks ON responsa.audit_event FOR UPDATE TO CURRENT_USER USING (tenant_id = responsa.current_tenant());
GRANT SELECT, INSERT ON responsa.audit_event TO responsa_app;

CREATE FUNCTION responsa.prune_audit_events(older_than interval, most int) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        WITH pruned AS (
            DELETE FROM responsa.audit_event AS e WHERE e.id IN (
                SELECT old.id FROM responsa.audit_event AS old
                WHERE old.create_time < now() - greatest(older_than, interval '30 days') LIMIT most)
            RETURNING 1
        )
        SELECT count(*) FROM pruned
    $$;
REVOKE ALL ON FUNCTION responsa.prune_audit_events FROM public;
GRANT EXECUTE ON FUNCTION responsa.prune_audit_events TO responsa_log;

-- One row for each deleted user. The row outlives the user, so it names the user by the id alone, and has no foreign key to users.
CREATE TABLE responsa.erasure (
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    user_id uuid NOT NULL,
    heir_id uuid, -- receives the shared collections; NULL: they are erased too
    begin_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    sweep_time timestamptz, -- when all of the user was gone; turns of others that were accepted earlier may still quote the documents
    end_time timestamptz,
    receipt jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(receipt) = 'object'), -- how much of each kind was erased
    PRIMARY KEY (tenant_id, user_id),
    CHECK (end_time IS NULL OR sweep_time IS NOT NULL)
);
GRANT SELECT, INSERT, UPDATE (sweep_time, end_time, receipt) ON responsa.erasure TO responsa_app;

-- The documents whose quotes are being withdrawn from answers. Empty while no erasure is in progress.
CREATE TABLE responsa.erased_document (
    tenant_id text NOT NULL,
    document_id uuid NOT NULL,
    user_id uuid NOT NULL, -- of the erasure
    create_time timestamptz NOT NULL, -- of the document: no earlier turn can quote it
    PRIMARY KEY (tenant_id, document_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.erasure (tenant_id, user_id) ON DELETE CASCADE
);
CREATE INDEX erased_document_of_erasure ON responsa.erased_document (tenant_id, user_id);
GRANT SELECT, INSERT, DELETE ON responsa.erased_document TO responsa_app;

SELECT responsa.isolate_tenants('erasure', 'erased_document');

-- Removes the addresses from the events of a user of the transaction's tenant whose erasing has begun: what the user did, what services did for the user, and attempts to
-- sign in as the user. The events keep the UUID alone.
CREATE FUNCTION responsa.erase_addresses_of_user(erased uuid) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant text := responsa.current_tenant();
    person text := 'users/' || erased;
    changed bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM responsa.erasure AS e WHERE e.tenant_id = tenant AND e.user_id = erased) THEN
        RAISE EXCEPTION 'the user is not being erased' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE responsa.audit_event AS e SET address = ''
    WHERE e.tenant_id = tenant AND e.address <> ''
        AND (e.actor = person OR (e.on_behalf_of = person AND e.on_behalf_of <> '') OR (e.actor = 'anonymous' AND e.resource_name = person));
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

-- The erasure of a tenant runs as the tables' owner, who may see and delete the rows of the transaction's tenant in every table but the audit log (the policies named
-- tenant_erasure). responsa_app cannot: its bugs must not delete users and keys.

-- Deletes rows of the transaction's tenant from one table and returns their number. most: the maximum; NULL for all. turns: only rows of these turns; NULL for all.
CREATE FUNCTION responsa.erase_tenant_rows(relation text, most int, turns uuid[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant text := responsa.current_tenant();
    deleted bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM responsa.tenant AS t WHERE t.id = tenant AND t.erase_time IS NOT NULL AND NOT t.home) THEN
        RAISE EXCEPTION 'the tenant is not being erased' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF turns IS NOT NULL THEN
        EXECUTE format('DELETE FROM responsa.%I WHERE tenant_id = $1 AND %I = ANY ($2)', relation, CASE relation WHEN 'turn' THEN 'id' ELSE 'turn_id' END)
            USING tenant, turns;
    ELSIF most IS NOT NULL THEN
        -- In a partitioned table, several rows may share a ctid, so a few more rows than `most` may go.
        EXECUTE format('DELETE FROM responsa.%I WHERE tenant_id = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM responsa.%I WHERE tenant_id = $1 LIMIT $2))', relation, relation)
            USING tenant, most;
    ELSE
        EXECUTE format('DELETE FROM responsa.%I WHERE tenant_id = $1', relation) USING tenant;
    END IF;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
-- Removes the network addresses from the audit log of the transaction's tenant. The events keep ids alone.
CREATE FUNCTION responsa.erase_audit_addresses() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant text := responsa.current_tenant();
    changed bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM responsa.tenant AS t WHERE t.id = tenant AND t.erase_time IS NOT NULL AND NOT t.home) THEN
        RAISE EXCEPTION 'the tenant is not being erased' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE responsa.audit_event AS e SET address = '' WHERE e.tenant_id = tenant AND e.address <> '';
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;
REVOKE ALL ON FUNCTION responsa.erase_addresses_of_user, responsa.erase_tenant_rows, responsa.erase_audit_addresses FROM public;
GRANT EXECUTE ON FUNCTION responsa.erase_addresses_of_user, responsa.erase_tenant_rows, responsa.erase_audit_addresses TO responsa_app;
