-- Users that administrators change and disable, and the credential with which each credential was made.
SET LOCAL lock_timeout = '10s';

ALTER TABLE responsa.app_user
    ADD COLUMN revision int NOT NULL DEFAULT 1,
    ADD COLUMN update_time timestamptz, -- NULL until the first change
    ADD COLUMN disable_time timestamptz; -- NULL while the user may make calls
-- The tenant and the id never change.
GRANT UPDATE (display_name, email, role, revision, update_time, disable_time) ON responsa.app_user TO responsa_app;
-- Lists of a tenant's users, and the lock on its administrators.
CREATE INDEX app_user_of_tenant ON responsa.app_user (tenant_id, create_time, id);
CREATE INDEX app_user_administrator ON responsa.app_user (tenant_id) WHERE role = 'admin' AND disable_time IS NULL;

-- parent_id: the key whose holder made this key; it is revoked together with this key. NULL for keys of the command line on the server's machine, and of earlier releases.
ALTER TABLE responsa.api_key ADD COLUMN parent_id uuid REFERENCES responsa.api_key (id);
CREATE INDEX api_key_parent ON responsa.api_key (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX api_key_of_tenant ON responsa.api_key (tenant_id, create_time, id);
-- The key whose holder asked for the code. The session ends with this key.
ALTER TABLE responsa.session_code ADD COLUMN api_key_id uuid REFERENCES responsa.api_key (id);
ALTER TABLE responsa.session ADD COLUMN api_key_id uuid REFERENCES responsa.api_key (id);

-- Like find_api_key, find_session and use_session_code, which the release before calls, with the new columns.
CREATE FUNCTION responsa.find_credential_of_key(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, expired boolean, revoked boolean, disabled boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT k.id, k.tenant_id, k.user_id, u.role, coalesce(k.expire_time <= now(), false), k.revoke_time IS NOT NULL, u.disable_time IS NOT NULL
        FROM responsa.api_key AS k JOIN responsa.app_user AS u ON u.id = k.user_id
        WHERE k.secret_sha256 = wanted_sha256
    $$;
CREATE FUNCTION responsa.find_credential_of_session(wanted_sha256 bytea)
    RETURNS TABLE (tenant_id text, user_id uuid, role text, api_key_id uuid, expired boolean, disabled boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT s.tenant_id, s.user_id, u.role, s.api_key_id,
            s.expire_time <= now() OR k.revoke_time IS NOT NULL OR coalesce(k.expire_time <= now(), false), u.disable_time IS NOT NULL
        FROM responsa.session AS s
        JOIN responsa.app_user AS u ON u.id = s.user_id
        LEFT JOIN responsa.api_key AS k ON k.id = s.api_key_id
        WHERE s.token_sha256 = wanted_sha256
    $$;
CREATE FUNCTION responsa.take_session_code(wanted_sha256 bytea)
    RETURNS TABLE (tenant_id text, user_id uuid, api_key_id uuid, expired boolean)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        DELETE FROM responsa.session_code AS c WHERE c.code_sha256 = wanted_sha256
        RETURNING c.tenant_id, c.user_id, c.api_key_id, c.expire_time <= now() OR EXISTS (
            SELECT FROM responsa.api_key AS k WHERE k.id = c.api_key_id AND (k.revoke_time IS NOT NULL OR k.expire_time <= now()))
    $$;
-- Which of these users and keys may no longer make calls? A process asks this for all its open streams, of whatever tenants, at once.
CREATE FUNCTION responsa.ended_credentials(users uuid[], keys uuid[])
    RETURNS TABLE (id uuid, disabled boolean, revoked boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT wanted.id, true, false
        FROM unnest(users) AS wanted (id) LEFT JOIN responsa.app_user AS u ON u.id = wanted.id
        WHERE u.id IS NULL OR u.disable_time IS NOT NULL
        UNION ALL
        SELECT wanted.id, false, k.id IS NULL OR k.revoke_time IS NOT NULL
        FROM unnest(keys) AS wanted (id) LEFT JOIN responsa.api_key AS k ON k.id = wanted.id
        WHERE k.id IS NULL OR k.revoke_time IS NOT NULL OR k.expire_time <= now()
    $$;

-- Servers of the release before know no disabled users: for them, the keys of such a user are revoked and the sessions expired.
CREATE OR REPLACE FUNCTION responsa.find_api_key(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, expired boolean, revoked boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT found.id, found.tenant_id, found.user_id, found.role, found.expired, found.revoked OR found.disabled
        FROM responsa.find_credential_of_key(wanted_sha256) AS found
    $$;
CREATE OR REPLACE FUNCTION responsa.find_session(wanted_sha256 bytea)
    RETURNS TABLE (tenant_id text, user_id uuid, role text, expired boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT found.tenant_id, found.user_id, found.role, found.expired OR found.disabled
        FROM responsa.find_credential_of_session(wanted_sha256) AS found
    $$;

-- A function's owner must be allowed to create in its schema at the moment it is given away.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'find_credential_of_key(bytea)', 'find_credential_of_session(bytea)', 'take_session_code(bytea)', 'ended_credentials(uuid[], uuid[])'
    ] LOOP
        EXECUTE format('ALTER FUNCTION responsa.%s OWNER TO responsa_search', signature);
        EXECUTE 'SET LOCAL ROLE responsa_search';
        EXECUTE format('REVOKE ALL ON FUNCTION responsa.%s FROM public', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION responsa.%s TO responsa_app', signature);
        EXECUTE 'RESET ROLE';
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
