-- Mails that wait to be sent, and addresses that wait to be confirmed. No row has the code of its mail: the code is derived from the id of the row and the
-- installation's secret when it is sent, and only its digest is stored.
SET LOCAL lock_timeout = '10s';

CREATE TABLE responsa.mail (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    kind text NOT NULL CHECK (kind IN ('register', 'reset', 'change_email', 'email_changed', 'password_changed')),
    email text NOT NULL, -- where it goes
    user_id uuid, -- of notices to a user
    expire_time timestamptz NOT NULL, -- after this time it is useless, and is not sent
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX mail_of_tenant ON responsa.mail (tenant_id, expire_time);
CREATE INDEX mail_of_user ON responsa.mail (tenant_id, user_id);

-- A registration, whose user does not exist yet, or a new address of a user.
CREATE TABLE responsa.email_confirmation (
    id uuid PRIMARY KEY, -- that of the mail
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    code_sha256 bytea NOT NULL UNIQUE CHECK (length(code_sha256) = 32),
    email text NOT NULL,
    user_id uuid, -- whose address changes; NULL for a registration
    new_user_id uuid, -- the following are those of a registration
    display_name text NOT NULL DEFAULT '',
    role text CHECK (role IN ('user', 'admin')),
    password_hash text,
    invitation_sha256 bytea CHECK (length(invitation_sha256) = 32),
    expire_time timestamptz NOT NULL,
    CHECK ((user_id IS NULL) = (new_user_id IS NOT NULL AND role IS NOT NULL AND password_hash IS NOT NULL)),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX email_confirmation_of_tenant ON responsa.email_confirmation (tenant_id, expire_time);
CREATE INDEX email_confirmation_of_user ON responsa.email_confirmation (tenant_id, user_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['mail', 'email_confirmation'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON responsa.%I TO responsa_app', name);
    END LOOP;
END
$$;

-- Also for the code of a confirmation.
CREATE POLICY search_reads ON responsa.email_confirmation FOR SELECT TO responsa_search USING (true);
GRANT SELECT (tenant_id, code_sha256) ON responsa.email_confirmation TO responsa_search;
GRANT CREATE ON SCHEMA responsa TO responsa_search;
SET LOCAL ROLE responsa_search;
CREATE OR REPLACE FUNCTION responsa.tenant_of_secret(wanted_sha256 bytea) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT tenant_id FROM responsa.refresh_token WHERE token_sha256 = wanted_sha256
        UNION ALL SELECT tenant_id FROM responsa.invitation WHERE code_sha256 = wanted_sha256
        UNION ALL SELECT tenant_id FROM responsa.reset_code WHERE code_sha256 = wanted_sha256
        UNION ALL SELECT tenant_id FROM responsa.email_confirmation WHERE code_sha256 = wanted_sha256
    $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
