-- The owner of the installation, users for whom a service acts, and tenants that are suspended and erased.
SET LOCAL lock_timeout = '10s';

ALTER TABLE responsa.tenant
    ADD COLUMN home boolean NOT NULL DEFAULT false, -- the installation's first tenant; its administrators can be owners
    ADD COLUMN suspend_time timestamptz, -- NULL while the tenant's users may make calls
    ADD COLUMN erase_time timestamptz, -- when its erasure began, which nothing can stop; suspend_time is then set too
    ADD COLUMN end_time timestamptz, -- when nothing was left but this row and the audit log
    ADD COLUMN erased jsonb NOT NULL DEFAULT '{}', -- the number of erased rows of each table
    ADD CONSTRAINT tenant_home_stays CHECK (NOT (home AND suspend_time IS NOT NULL)),
    ADD CONSTRAINT tenant_erased_is_suspended CHECK (erase_time IS NULL OR suspend_time IS NOT NULL);
CREATE UNIQUE INDEX tenant_home ON responsa.tenant (home) WHERE home;
CREATE INDEX tenant_suspended ON responsa.tenant (id) WHERE suspend_time IS NOT NULL AND end_time IS NULL;
ALTER TABLE responsa.app_user ADD COLUMN owner boolean NOT NULL DEFAULT false; -- counts only for an administrator of the home tenant
GRANT UPDATE (display_name, suspend_time, erase_time, end_time, erased) ON responsa.tenant TO responsa_app;
GRANT UPDATE (owner) ON responsa.app_user TO responsa_app;

-- An installation that stands: its first tenant is the home tenant, and the first administrator of this tenant is the owner. While row security is forced, the
-- owner of the tables sees no rows. Both tables are locked by the statements above in any case.
ALTER TABLE responsa.tenant NO FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.app_user NO FORCE ROW LEVEL SECURITY;
UPDATE responsa.tenant SET home = true
WHERE id = (SELECT id FROM responsa.tenant ORDER BY id = 'default' DESC, create_time, id LIMIT 1);
UPDATE responsa.app_user SET owner = true WHERE id = (
    SELECT u.id FROM responsa.app_user AS u JOIN responsa.tenant AS t ON t.id = u.tenant_id AND t.home
    WHERE u.role = 'admin' AND u.disable_time IS NULL ORDER BY u.create_time, u.id LIMIT 1
);
ALTER TABLE responsa.app_user FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.tenant FORCE ROW LEVEL SECURITY;

-- For whom a service may act. user_id NULL: for every user with the role user. Grants are checked at each use, so one for a user who becomes an administrator
-- stays without effect.
CREATE TABLE responsa.service_grant (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    service_id uuid NOT NULL,
    user_id uuid,
    create_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT service_grant_once UNIQUE NULLS NOT DISTINCT (tenant_id, service_id, user_id),
    CONSTRAINT service_grant_not_itself CHECK (service_id <> user_id),
    FOREIGN KEY (tenant_id, service_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX service_grant_of_tenant ON responsa.service_grant (tenant_id, create_time, id);
CREATE INDEX service_grant_of_user ON responsa.service_grant (tenant_id, user_id);
ALTER TABLE responsa.service_grant ENABLE ROW LEVEL SECURITY;
ALTER TABLE responsa.service_grant FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.service_grant TO responsa_app
    USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant());
CREATE POLICY search_reads ON responsa.service_grant FOR SELECT TO responsa_search USING (true);
CREATE POLICY search_reads ON responsa.tenant FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE ON responsa.service_grant TO responsa_app;
GRANT SELECT ON responsa.service_grant, responsa.tenant TO responsa_search;

-- The user for whom the actor acted; '' for the actor itself.
ALTER TABLE responsa.audit_event ADD COLUMN on_behalf_of text NOT NULL DEFAULT '';

-- Whether a user is an owner of the installation, and whether the user's tenant is suspended. Users that do not exist are left out.
CREATE FUNCTION responsa.standing(users uuid[]) RETURNS TABLE (user_id uuid, owner boolean, suspended boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT u.id, u.owner AND u.role = 'admin' AND u.disable_time IS NULL AND t.home, t.suspend_time IS NOT NULL
        FROM responsa.app_user AS u JOIN responsa.tenant AS t ON t.id = u.tenant_id
        WHERE u.id = ANY (users)
    $$;
-- Those of these pairs whose service may act for the user: there is a grant, neither is disabled, and their roles are service and user.
CREATE FUNCTION responsa.granted(services uuid[], users uuid[]) RETURNS TABLE (service_id uuid, user_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT pair.service_id, pair.user_id
        FROM unnest(services, users) AS pair (service_id, user_id)
        JOIN responsa.app_user AS s ON s.id = pair.service_id AND s.role = 'service' AND s.disable_time IS NULL
        JOIN responsa.app_user AS u ON u.id = pair.user_id AND u.tenant_id = s.tenant_id AND u.role = 'user' AND u.disable_time IS NULL
        WHERE EXISTS (
            SELECT FROM responsa.service_grant AS g
            WHERE g.tenant_id = s.tenant_id AND g.service_id = s.id AND (g.user_id IS NULL OR g.user_id = u.id))
    $$;
-- The tenants of the installation, for its owner and for the processes that stop and erase tenants.
CREATE FUNCTION responsa.all_tenants()
    RETURNS TABLE (id text, display_name text, create_time timestamptz, home boolean, suspend_time timestamptz, erase_time timestamptz, end_time timestamptz, erased jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT t.id, t.display_name, t.create_time, t.home, t.suspend_time, t.erase_time, t.end_time, t.erased FROM responsa.tenant AS t
    $$;
-- The tenants for which no job may run.
CREATE FUNCTION responsa.suspended_tenants() RETURNS text[]
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT coalesce(array_agg(t.id), '{}') FROM responsa.tenant AS t WHERE t.suspend_time IS NOT NULL AND t.end_time IS NULL $$;

-- Servers of the release before know no suspended tenants: for them, the users of such a tenant are disabled.
CREATE OR REPLACE FUNCTION responsa.find_credential_of_key(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, expired boolean, revoked boolean, disabled boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT k.id, k.tenant_id, k.user_id, u.role, coalesce(k.expire_time <= now(), false), k.revoke_time IS NOT NULL,
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
        SELECT s.tenant_id, s.user_id, u.role, s.api_key_id,
            s.expire_time <= now() OR k.revoke_time IS NOT NULL OR coalesce(k.expire_time <= now(), false), u.disable_time IS NOT NULL OR t.suspend_time IS NOT NULL
        FROM responsa.session AS s
        JOIN responsa.app_user AS u ON u.id = s.user_id
        JOIN responsa.tenant AS t ON t.id = s.tenant_id
        LEFT JOIN responsa.api_key AS k ON k.id = s.api_key_id
        WHERE s.token_sha256 = wanted_sha256
    $$;
CREATE OR REPLACE FUNCTION responsa.ended_credentials(users uuid[], keys uuid[])
    RETURNS TABLE (id uuid, disabled boolean, revoked boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT wanted.id, true, false
        FROM unnest(users) AS wanted (id)
        LEFT JOIN responsa.app_user AS u ON u.id = wanted.id
        LEFT JOIN responsa.tenant AS t ON t.id = u.tenant_id
        WHERE u.id IS NULL OR u.disable_time IS NOT NULL OR t.suspend_time IS NOT NULL
        UNION ALL
        SELECT wanted.id, false, k.id IS NULL OR k.revoke_time IS NOT NULL
        FROM unnest(keys) AS wanted (id) LEFT JOIN responsa.api_key AS k ON k.id = wanted.id
        WHERE k.id IS NULL OR k.revoke_time IS NOT NULL OR k.expire_time <= now()
    $$;
-- Nor does a sign-in code of such a tenant, or the secret of an account there, lead anywhere.
CREATE OR REPLACE FUNCTION responsa.take_session_code(wanted_sha256 bytea)
    RETURNS TABLE (tenant_id text, user_id uuid, api_key_id uuid, expired boolean)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        DELETE FROM responsa.session_code AS c WHERE c.code_sha256 = wanted_sha256
        RETURNING c.tenant_id, c.user_id, c.api_key_id, c.expire_time <= now() OR EXISTS (
            SELECT FROM responsa.api_key AS k WHERE k.id = c.api_key_id AND (k.revoke_time IS NOT NULL OR k.expire_time <= now())
        ) OR EXISTS (SELECT FROM responsa.tenant AS t WHERE t.id = c.tenant_id AND t.suspend_time IS NOT NULL)
    $$;
CREATE OR REPLACE FUNCTION responsa.tenant_of_secret(wanted_sha256 bytea) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT found.tenant_id FROM (
            SELECT tenant_id FROM responsa.refresh_token WHERE token_sha256 = wanted_sha256
            UNION ALL SELECT tenant_id FROM responsa.invitation WHERE code_sha256 = wanted_sha256
            UNION ALL SELECT tenant_id FROM responsa.reset_code WHERE code_sha256 = wanted_sha256
            UNION ALL SELECT tenant_id FROM responsa.email_confirmation WHERE code_sha256 = wanted_sha256
        ) AS found
        JOIN responsa.tenant AS t ON t.id = found.tenant_id AND t.suspend_time IS NULL
    $$;

-- A function's owner must be allowed to create in its schema at the moment it is given away.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY['standing(uuid[])', 'granted(uuid[], uuid[])', 'all_tenants()', 'suspended_tenants()'] LOOP
        EXECUTE format('ALTER FUNCTION responsa.%s OWNER TO responsa_search', signature);
        EXECUTE 'SET LOCAL ROLE responsa_search';
        EXECUTE format('REVOKE ALL ON FUNCTION responsa.%s FROM public', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION responsa.%s TO %s', signature,
            CASE signature WHEN 'suspended_tenants()' THEN 'responsa_log' ELSE 'responsa_app' END);
        EXECUTE 'RESET ROLE';
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;

-- Erasure runs as the tables' owner, who may see and delete the rows of the transaction's tenant in every table but the audit log. responsa_app cannot: its bugs must
-- not delete users and keys. A table of a later migration needs this policy too; a test finds one that lacks it.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relnamespace = 'responsa'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'audit_event'
    LOOP
        EXECUTE format('CREATE POLICY tenant_erasure ON responsa.%I TO CURRENT_USER USING (tenant_id = responsa.current_tenant())', name);
    END LOOP;
END
$$;
CREATE POLICY tenant_erasure ON responsa.tenant FOR SELECT TO CURRENT_USER USING (id = responsa.current_tenant());
CREATE POLICY erasure_finds ON responsa.audit_event FOR SELECT TO CURRENT_USER USING (tenant_id = responsa.current_tenant());
CREATE POLICY erasure_blanks ON responsa.audit_event FOR UPDATE TO CURRENT_USER USING (tenant_id = responsa.current_tenant());

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
REVOKE ALL ON FUNCTION responsa.erase_tenant_rows(text, int, uuid[]), responsa.erase_audit_addresses() FROM public;
GRANT EXECUTE ON FUNCTION responsa.erase_tenant_rows(text, int, uuid[]), responsa.erase_audit_addresses() TO responsa_app;
