-- Accounts: passwords, signed-in sessions with rotating refresh tokens, invitations, codes that reset a password, counted attempts, and the keys that
-- sign access tokens.
SET LOCAL lock_timeout = '10s';

CREATE TABLE responsa.user_password (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    hash text NOT NULL, -- of Argon2id; of bcrypt until the next sign-in if it was imported
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);

-- A session is a browser's (token_sha256 is of its cookie) or a program's (token_sha256 is of the newest refresh token). A server of the release before knows
-- browsers' sessions alone, and the defaults are right for those that it makes.
ALTER TABLE responsa.session
    ADD COLUMN id uuid NOT NULL DEFAULT uuidv7(),
    ADD COLUMN kind text NOT NULL DEFAULT 'browser' CHECK (kind IN ('browser', 'tokens')),
    ADD COLUMN sign_in_time timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN last_use_time timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN address text NOT NULL DEFAULT '',
    ADD COLUMN user_agent text NOT NULL DEFAULT '';
CREATE UNIQUE INDEX session_id ON responsa.session (id);
CREATE UNIQUE INDEX session_in_tenant ON responsa.session (tenant_id, id);
CREATE INDEX session_of_user ON responsa.session (tenant_id, user_id, create_time);

-- All refresh tokens of a session. A used one is kept, because its second use shows that it was stolen.
CREATE TABLE responsa.refresh_token (
    token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
    tenant_id text NOT NULL,
    session_id uuid NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    use_time timestamptz,
    request_id uuid, -- of the call that used it; NULL if that call had none
    successor_sha256 bytea CHECK (length(successor_sha256) = 32),
    kid text, -- the key that signed the access token of that call, so that its repetition gets the same one
    FOREIGN KEY (tenant_id, session_id) REFERENCES responsa.session (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX refresh_token_of_session ON responsa.refresh_token (tenant_id, session_id);

CREATE TABLE responsa.invitation (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    code_sha256 bytea NOT NULL UNIQUE CHECK (length(code_sha256) = 32),
    role text NOT NULL CHECK (role IN ('user', 'admin')),
    email text NOT NULL DEFAULT '', -- '' lets the person choose
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz NOT NULL
);
CREATE INDEX invitation_of_tenant ON responsa.invitation (tenant_id, expire_time);

CREATE TABLE responsa.reset_code (
    code_sha256 bytea PRIMARY KEY CHECK (length(code_sha256) = 32),
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    expire_time timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX reset_code_of_user ON responsa.reset_code (tenant_id, user_id);

-- These two belong to the installation. Attempts are counted for names that may not exist, so a row has a keyed digest of the name and no tenant.
CREATE TABLE responsa.sign_in_attempt (
    subject bytea PRIMARY KEY CHECK (length(subject) = 32),
    failures int NOT NULL,
    end_time timestamptz NOT NULL -- of the window
);
CREATE INDEX sign_in_attempt_end ON responsa.sign_in_attempt (end_time);
CREATE TABLE responsa.signing_key (
    kid text PRIMARY KEY,
    sealed_key bytea NOT NULL, -- the private key, encrypted under the installation's secret file
    create_time timestamptz NOT NULL DEFAULT clock_timestamp()
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['user_password', 'refresh_token', 'invitation', 'reset_code'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.user_password, responsa.sign_in_attempt TO responsa_app;
GRANT SELECT, INSERT, DELETE ON responsa.refresh_token, responsa.invitation, responsa.reset_code, responsa.signing_key TO responsa_app;
GRANT UPDATE (use_time, request_id, successor_sha256, kid) ON responsa.refresh_token TO responsa_app;
GRANT UPDATE (token_sha256, expire_time, last_use_time) ON responsa.session TO responsa_app;

-- As find_credential_of_session, with the session's id. It calls that function, so that whatever refuses a session is written in one place.
CREATE FUNCTION responsa.find_signed_in(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, api_key_id uuid, expired boolean, disabled boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT s.id, f.tenant_id, f.user_id, f.role, f.api_key_id, f.expired, f.disabled
        FROM responsa.find_credential_of_session(wanted_sha256) AS f CROSS JOIN responsa.session AS s
        WHERE s.token_sha256 = wanted_sha256
    $$;
-- The same for the session that an access token names.
CREATE FUNCTION responsa.find_signed_in_as(wanted_id uuid)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, api_key_id uuid, expired boolean, disabled boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT s.id, f.tenant_id, f.user_id, f.role, f.api_key_id, f.expired, f.disabled
        FROM responsa.session AS s CROSS JOIN LATERAL responsa.find_credential_of_session(s.token_sha256) AS f
        WHERE s.id = wanted_id AND s.kind = 'tokens'
    $$;
-- As ended_credentials of users and keys, also for sessions. A session has ended if it was deleted, has expired, or began with a key that has ended.
CREATE FUNCTION responsa.ended_credentials(users uuid[], keys uuid[], sessions uuid[])
    RETURNS TABLE (id uuid, disabled boolean, revoked boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT ended.id, ended.disabled, ended.revoked FROM responsa.ended_credentials(users, keys) AS ended
        UNION ALL
        SELECT wanted.id, false, false
        FROM unnest(sessions) AS wanted (id)
        LEFT JOIN responsa.session AS s ON s.id = wanted.id
        LEFT JOIN responsa.api_key AS k ON k.id = s.api_key_id
        WHERE s.id IS NULL OR s.expire_time <= now() OR k.revoke_time IS NOT NULL OR k.expire_time <= now()
    $$;
-- The tenant of a refresh token, of an invitation's code or of a reset code. Whoever knows such a secret may learn its tenant; all else is read as that tenant.
CREATE FUNCTION responsa.tenant_of_secret(wanted_sha256 bytea) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT tenant_id FROM responsa.refresh_token WHERE token_sha256 = wanted_sha256
        UNION ALL SELECT tenant_id FROM responsa.invitation WHERE code_sha256 = wanted_sha256
        UNION ALL SELECT tenant_id FROM responsa.reset_code WHERE code_sha256 = wanted_sha256
    $$;
CREATE POLICY search_reads ON responsa.refresh_token FOR SELECT TO responsa_search USING (true);
CREATE POLICY search_reads ON responsa.invitation FOR SELECT TO responsa_search USING (true);
CREATE POLICY search_reads ON responsa.reset_code FOR SELECT TO responsa_search USING (true);
GRANT SELECT (tenant_id, token_sha256) ON responsa.refresh_token TO responsa_search;
GRANT SELECT (tenant_id, code_sha256) ON responsa.invitation, responsa.reset_code TO responsa_search;

-- A function's owner must be allowed to create in its schema at the moment it is given away.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY['find_signed_in(bytea)', 'find_signed_in_as(uuid)', 'ended_credentials(uuid[], uuid[], uuid[])', 'tenant_of_secret(bytea)'] LOOP
        EXECUTE format('ALTER FUNCTION responsa.%s OWNER TO responsa_search', signature);
        EXECUTE 'SET LOCAL ROLE responsa_search';
        EXECUTE format('REVOKE ALL ON FUNCTION responsa.%s FROM public', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION responsa.%s TO responsa_app', signature);
        EXECUTE 'RESET ROLE';
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
