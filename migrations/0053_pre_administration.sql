-- For administrators: whom an audited act affected, when users last signed in, and API keys with fewer rights than their users.
SET LOCAL lock_timeout = '10s';

-- The user whom the act affected; NULL if it affected nobody, or the actor alone.
ALTER TABLE responsa.audit_event ADD COLUMN affected_user uuid;
-- The newest sign-in: the beginning of a session. NULL: never. It outlives the sessions.
ALTER TABLE responsa.app_user ADD COLUMN last_sign_in_time timestamptz;
GRANT UPDATE (last_sign_in_time) ON responsa.app_user TO responsa_app;
-- NULL: the key has the role of its user.
ALTER TABLE responsa.api_key ADD COLUMN role text CHECK (role = 'user');

-- What earlier releases have stored. While row security is forced, the owner of the tables sees no rows. The tables are locked by the statements above in any case.
ALTER TABLE responsa.audit_event NO FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.app_user NO FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.api_key NO FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.session NO FORCE ROW LEVEL SECURITY;
UPDATE responsa.audit_event AS e SET affected_user = found.id
FROM (
    SELECT a.id AS event, substring(a.resource_name FROM '^users/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:/|$)')::uuid AS id FROM responsa.audit_event AS a
    UNION ALL
    SELECT a.id, k.user_id FROM responsa.api_key AS k JOIN responsa.audit_event AS a ON a.tenant_id = k.tenant_id AND a.resource_name = 'apiKeys/' || k.id
) AS found
WHERE e.id = found.event AND found.id IS NOT NULL AND 'users/' || found.id NOT IN (e.actor, e.on_behalf_of);
UPDATE responsa.app_user AS u SET last_sign_in_time = signed_in.newest
FROM (
    SELECT s.tenant_id, 'users/' || s.user_id AS name, max(s.sign_in_time) AS newest FROM responsa.session AS s GROUP BY s.tenant_id, s.user_id
) AS signed_in
WHERE u.tenant_id = signed_in.tenant_id AND 'users/' || u.id = signed_in.name;
UPDATE responsa.app_user AS u SET last_sign_in_time = greatest(u.last_sign_in_time, signed_in.newest)
FROM (
    SELECT e.tenant_id, e.actor AS name, max(e.create_time) AS newest FROM responsa.audit_event AS e
    WHERE e.action = 'session.create' AND e.outcome = 'OK' GROUP BY e.tenant_id, e.actor
) AS signed_in
WHERE u.tenant_id = signed_in.tenant_id AND 'users/' || u.id = signed_in.name;
ALTER TABLE responsa.session FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.api_key FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.app_user FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.audit_event FORCE ROW LEVEL SECURITY;
CREATE INDEX audit_event_affecting ON responsa.audit_event (tenant_id, affected_user, create_time DESC, id DESC) WHERE affected_user IS NOT NULL;

-- A function's owner must be allowed to create in its schema.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
SET LOCAL ROLE responsa_search;

-- As before, with the narrower role of the key, or of the key that began the session.
CREATE OR REPLACE FUNCTION responsa.find_credential_of_key(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, expired boolean, revoked boolean, disabled boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT k.id, k.tenant_id, k.user_id, coalesce(k.role, u.role), coalesce(k.expire_time <= now(), false), k.revoke_time IS NOT NULL,
            u.disable_time IS NOT NULL OR t.suspend_time IS NOT NULL
        FROM responsa.api_key AS k
        JOIN responsa.app_user AS u ON u.id = k.user_id
        JOIN responsa.tenant AS t ON t.id = k.tenant_id
        WHERE k.secret_sha256 = wanted_sha256
    $$;
CREATE OR REPLACE FUNCTION responsa.find_credential_of_session(wanted_sha256 bytea)
    RETURNS TABLE (tenant_id text, user_id uuid, role text, api_key_id uuid, expired boolean, disabled boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT s.tenant_id, s.user_id, coalesce(k.role, u.role), s.api_key_id,
            s.expire_time <= now() OR k.revoke_time IS NOT NULL OR coalesce(k.expire_time <= now(), false), u.disable_time IS NOT NULL OR t.suspend_time IS NOT NULL
        FROM responsa.session AS s
        JOIN responsa.app_user AS u ON u.id = s.user_id
        JOIN responsa.tenant AS t ON t.id = s.tenant_id
        LEFT JOIN responsa.api_key AS k ON k.id = s.api_key_id
        WHERE s.token_sha256 = wanted_sha256
    $$;
-- A user's role, whether the user is an owner of the installation, and whether the user's tenant is suspended.
CREATE FUNCTION responsa.standing_of(wanted uuid) RETURNS TABLE (role text, owner boolean, suspended boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT u.role, u.owner AND u.role = 'admin' AND u.disable_time IS NULL AND t.home, t.suspend_time IS NOT NULL
        FROM responsa.app_user AS u JOIN responsa.tenant AS t ON t.id = u.tenant_id
        WHERE u.id = wanted
    $$;
-- As before; a role that is NULL is not compared, nor is the ownership next to it.
CREATE OR REPLACE FUNCTION responsa.changed_callers(users uuid[], roles text[], owners boolean[], keys uuid[], sessions uuid[]) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT known.id
        FROM unnest(users, roles, owners) AS known (id, role, owner)
        LEFT JOIN responsa.app_user AS u ON u.id = known.id
        LEFT JOIN responsa.tenant AS t ON t.id = u.tenant_id
        WHERE u.id IS NULL OR u.role <> known.role OR u.disable_time IS NOT NULL OR t.suspend_time IS NOT NULL
            OR (known.role IS NOT NULL AND (u.owner AND u.role = 'admin' AND t.home) IS DISTINCT FROM known.owner)
        UNION ALL
        SELECT wanted.id
        FROM unnest(keys) AS wanted (id)
        LEFT JOIN responsa.api_key AS k ON k.id = wanted.id
        WHERE k.id IS NULL OR k.revoke_time IS NOT NULL OR k.expire_time <= now()
        UNION ALL
        SELECT wanted.id
        FROM unnest(sessions) AS wanted (id)
        LEFT JOIN responsa.session AS s ON s.id = wanted.id
        LEFT JOIN responsa.api_key AS k ON k.id = s.api_key_id
        WHERE s.id IS NULL OR s.expire_time <= now() OR k.revoke_time IS NOT NULL OR k.expire_time <= now()
    $$;
REVOKE ALL ON FUNCTION responsa.standing_of(uuid) FROM public;
GRANT EXECUTE ON FUNCTION responsa.standing_of(uuid) TO responsa_app;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
