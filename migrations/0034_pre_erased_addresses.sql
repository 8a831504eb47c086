-- The network addresses of deleted users leave the audit log: its events keep the UUID alone.
SET LOCAL lock_timeout = '10s';

CREATE INDEX audit_event_of_actor ON responsa.audit_event (tenant_id, actor);
CREATE INDEX audit_event_on_behalf ON responsa.audit_event (tenant_id, on_behalf_of) WHERE on_behalf_of <> '';
CREATE INDEX audit_event_of_resource ON responsa.audit_event (tenant_id, resource_name) WHERE actor = 'anonymous';

-- Removes the addresses from the events of a user of the transaction's tenant whose erasing has begun: what the user did, what services did for the user, and attempts to
-- sign in as the user. Runs as the owner of the tables, like the function for tenants: responsa_app cannot change events.
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
REVOKE ALL ON FUNCTION responsa.erase_addresses_of_user(uuid) FROM public;
GRANT EXECUTE ON FUNCTION responsa.erase_addresses_of_user(uuid) TO responsa_app;
