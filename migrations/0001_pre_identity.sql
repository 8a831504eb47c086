-- Roles, schema, tenants, users and their credentials.
-- Four roles (docs/architecture.md): whoever runs this owns all; responsa_app serves one tenant at a time; responsa_log writes the turn log and runs
-- jobs over all tenants; responsa_search owns the search functions and cannot log in. They may exist already, with or without a login.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['responsa_app', 'responsa_log', 'responsa_search'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- roles belong to the cluster: another database's migration was faster
            END;
        END IF;
        -- The owner gives functions to responsa_search. It needs the other two only where one login serves all (`SET ROLE`), and
        -- where the roles were made with logins of their own it may not have the right to become a member.
        -- Who makes a role by CREATEROLE is its member for administration only: that lets neither SET ROLE nor give functions to it.
        IF NOT (pg_has_role(current_user, wanted, 'SET') AND pg_has_role(current_user, wanted, 'USAGE')) THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I WITH INHERIT TRUE, SET TRUE', wanted, current_user);
            EXCEPTION WHEN insufficient_privilege THEN
                IF wanted = 'responsa_search' THEN
                    RAISE;
                END IF;
            END;
        END IF;
    END LOOP;
END
$$;

CREATE SCHEMA IF NOT EXISTS responsa;
GRANT USAGE ON SCHEMA responsa TO responsa_app, responsa_log, responsa_search;

-- The tenant of the transaction, NULL when none is set ('' is what an unset setting reads as later on).
CREATE FUNCTION responsa.current_tenant() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('responsa.tenant_id', true), '');

CREATE TABLE responsa.tenant (
    id text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    display_name text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE responsa.app_user (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    display_name text NOT NULL,
    email text NOT NULL DEFAULT '', -- folded by the server
    role text NOT NULL CHECK (role IN ('user', 'admin', 'service')),
    create_time timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX app_user_email ON responsa.app_user (tenant_id, email) WHERE email <> '';

CREATE TABLE responsa.api_key (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    display_name text NOT NULL DEFAULT '',
    prefix text NOT NULL, -- what may be shown of the secret
    secret_sha256 bytea NOT NULL UNIQUE CHECK (length(secret_sha256) = 32), -- secrets have 256 random bits: no slow hash needed
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz,
    revoke_time timestamptz,
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE INDEX api_key_of_user ON responsa.api_key (tenant_id, user_id, create_time);

CREATE TABLE responsa.session_code (
    code_sha256 bytea PRIMARY KEY CHECK (length(code_sha256) = 32),
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    expire_time timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);

CREATE TABLE responsa.session (
    token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);

-- What administrators did. actor is a user's name or "local" (who runs the machine). Never updated.
CREATE TABLE responsa.audit_event (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    actor text NOT NULL,
    action text NOT NULL,
    resource_name text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['app_user', 'api_key', 'session_code', 'session', 'audit_event'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
    END LOOP;
END
$$;
ALTER TABLE responsa.tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE responsa.tenant FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.tenant TO responsa_app
    USING (id = responsa.current_tenant()) WITH CHECK (id = responsa.current_tenant());

GRANT SELECT, INSERT ON responsa.tenant, responsa.app_user, responsa.audit_event TO responsa_app;
GRANT SELECT, INSERT, UPDATE ON responsa.api_key TO responsa_app;
GRANT SELECT, INSERT, DELETE ON responsa.session_code, responsa.session TO responsa_app;

-- Whose credential is this? Asked before the tenant is known, hence by functions that see all tenants and tell of the one exact match alone.
CREATE FUNCTION responsa.find_api_key(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, expired boolean, revoked boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
    AS $$
        SELECT k.id, k.tenant_id, k.user_id, u.role, coalesce(k.expire_time <= now(), false), k.revoke_time IS NOT NULL
        FROM responsa.api_key AS k JOIN responsa.app_user AS u ON u.id = k.user_id
        WHERE k.secret_sha256 = wanted_sha256
    $$;
CREATE FUNCTION responsa.find_session(wanted_sha256 bytea)
    RETURNS TABLE (tenant_id text, user_id uuid, role text, expired boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
    AS $$
        SELECT s.tenant_id, s.user_id, u.role, s.expire_time <= now()
        FROM responsa.session AS s JOIN responsa.app_user AS u ON u.id = s.user_id
        WHERE s.token_sha256 = wanted_sha256
    $$;
-- Single use: the row that is deleted is the one that counts, however many ask at once.
CREATE FUNCTION responsa.use_session_code(wanted_sha256 bytea)
    RETURNS TABLE (tenant_id text, user_id uuid, expired boolean)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
        DELETE FROM responsa.session_code AS c WHERE c.code_sha256 = wanted_sha256
        RETURNING c.tenant_id, c.user_id, c.expire_time <= now()
    $$;
CREATE POLICY search_reads ON responsa.api_key FOR SELECT TO responsa_search USING (true);
CREATE POLICY search_reads ON responsa.app_user FOR SELECT TO responsa_search USING (true);
CREATE POLICY search_reads ON responsa.session FOR SELECT TO responsa_search USING (true);
CREATE POLICY search_uses ON responsa.session_code TO responsa_search USING (true);
GRANT SELECT ON responsa.api_key, responsa.app_user, responsa.session TO responsa_search;
GRANT SELECT, DELETE ON responsa.session_code TO responsa_search;

-- A function's owner must be allowed to create in its schema at the moment it is given away.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
ALTER FUNCTION responsa.find_api_key(bytea) OWNER TO responsa_search;
ALTER FUNCTION responsa.find_session(bytea) OWNER TO responsa_search;
ALTER FUNCTION responsa.use_session_code(bytea) OWNER TO responsa_search;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY['find_api_key(bytea)', 'find_session(bytea)', 'use_session_code(bytea)'] LOOP
        EXECUTE 'SET LOCAL ROLE responsa_search';
        EXECUTE format('REVOKE ALL ON FUNCTION responsa.%s FROM public', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION responsa.%s TO responsa_app', signature);
        EXECUTE 'RESET ROLE';
    END LOOP;
END
$$;
