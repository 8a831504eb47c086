-- Keys of widgets: everybody can read them, so they only ask, at the origins that a setting names (docs/adr/0082).

ALTER TABLE responsa.api_key ADD COLUMN widget boolean NOT NULL DEFAULT false;

GRANT CREATE ON SCHEMA responsa TO responsa_search; -- a function's owner must be allowed to create in its schema
SET LOCAL ROLE responsa_search;
-- As find_credential_of_key did, and whether it is the key of a widget.
CREATE FUNCTION responsa.find_key(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, expired boolean, revoked boolean, disabled boolean, widget boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    AS $$
        SELECT k.id, k.tenant_id, k.user_id, coalesce(k.role, u.role), coalesce(k.expire_time <= now(), false), k.revoke_time IS NOT NULL,
            u.disable_time IS NOT NULL OR t.suspend_time IS NOT NULL, k.widget
        FROM responsa.api_key AS k
        JOIN responsa.app_user AS u ON u.id = k.user_id
        JOIN responsa.tenant AS t ON t.id = k.tenant_id
        WHERE k.secret_sha256 = wanted_sha256
    $$;
-- Servers of earlier releases call this. They would give the key of a widget all rights of its user, so they do not find it.
CREATE OR REPLACE FUNCTION responsa.find_credential_of_key(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, expired boolean, revoked boolean, disabled boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT f.id, f.tenant_id, f.user_id, f.role, f.expired, f.revoked, f.disabled FROM responsa.find_key(wanted_sha256) AS f WHERE NOT f.widget
    $$;
REVOKE ALL ON FUNCTION responsa.find_key FROM public;
GRANT EXECUTE ON FUNCTION responsa.find_key TO responsa_app;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
