-- Accounts: passwords, refresh tokens, invitations, codes and mails, OpenID Connect, counted attempts, and the keys that sign access tokens; and what limits users:
-- quotas and rates.

CREATE TABLE responsa.user_password (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    hash text NOT NULL, -- of Argon2id; of bcrypt until the next sign-in if it was imported
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.user_password TO responsa_app;

-- All refresh tokens of a session. A used one is kept, because its second use shows that it was stolen.
CREATE TABLE responsa.refresh_token (
    token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
    tenant_id text NOT NULL,
    session_id uuid NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    use_time timestamptz,
    request_id uuid, -- of the call that used it; NULL if that call had no id
    successor_sha256 bytea CHECK (length(successor_sha256) = 32),
    kid text, -- the key that signed the access token of that call, so that its repetition gets the same one
    FOREIGN KEY (tenant_id, session_id) REFERENCES responsa.session (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX refresh_token_of_session ON responsa.refresh_token (tenant_id, session_id);
CREATE POLICY search_reads ON responsa.refresh_token FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE, UPDATE (use_time, request_id, successor_sha256, kid) ON responsa.refresh_token TO responsa_app;
GRANT SELECT (tenant_id, token_sha256) ON responsa.refresh_token TO responsa_search;

CREATE TABLE responsa.invitation (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    code_sha256 bytea NOT NULL UNIQUE CHECK (length(code_sha256) = 32),
    role text NOT NULL CHECK (role IN ('user', 'admin')),
    email text NOT NULL DEFAULT '', -- '' lets the person choose
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz NOT NULL,
    maker_id uuid, -- the user who made it
    groups uuid[] NOT NULL DEFAULT '{}' -- which the new user joins; some may have been deleted
);
CREATE INDEX invitation_of_tenant ON responsa.invitation (tenant_id, expire_time);
CREATE INDEX invitation_of_maker ON responsa.invitation (tenant_id, maker_id);
CREATE POLICY search_reads ON responsa.invitation FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE, UPDATE (groups) ON responsa.invitation TO responsa_app;
GRANT SELECT (tenant_id, code_sha256) ON responsa.invitation TO responsa_search;

CREATE TABLE responsa.reset_code (
    code_sha256 bytea PRIMARY KEY CHECK (length(code_sha256) = 32),
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    expire_time timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX reset_code_of_user ON responsa.reset_code (tenant_id, user_id);
CREATE POLICY search_reads ON responsa.reset_code FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE ON responsa.reset_code TO responsa_app;
GRANT SELECT (tenant_id, code_sha256) ON responsa.reset_code TO responsa_search;

-- Mails that wait to be sent. No row has the code of its mail: the code is derived from the id of the row and the installation's secret when it is sent, and only its digest
-- is stored.
CREATE TABLE responsa.mail (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    kind text NOT NULL CHECK (kind IN (
        'register', 'reset', 'change_email', 'email_changed', 'password_changed', 'collections_received', 'run_failed', 'run_stopped', 'ingestions_failed')),
    email text NOT NULL, -- where it goes
    user_id uuid, -- of notices to a user
    expire_time timestamptz NOT NULL, -- after this time it is useless, and is not sent
    about text NOT NULL DEFAULT '', -- the source of a notice
    events int NOT NULL DEFAULT 1, -- the number of events that the notice reports
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX mail_of_tenant ON responsa.mail (tenant_id, expire_time);
CREATE INDEX mail_of_user ON responsa.mail (tenant_id, user_id);
GRANT SELECT, INSERT, DELETE ON responsa.mail TO responsa_app;

-- Addresses that wait to be confirmed: of a registration, whose user does not exist yet, or a new address of a user.
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
CREATE POLICY search_reads ON responsa.email_confirmation FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE ON responsa.email_confirmation TO responsa_app;
GRANT SELECT (tenant_id, code_sha256) ON responsa.email_confirmation TO responsa_search;

-- The tenant of a refresh token, of an invitation's code, of a reset code or of a confirmation's code, unless the tenant is suspended. Whoever knows such a secret may learn its
-- tenant; all else is read as that tenant.
GRANT CREATE ON SCHEMA responsa TO responsa_search; -- a function's owner must be allowed to create in its schema
SET LOCAL ROLE responsa_search;
CREATE FUNCTION responsa.tenant_of_secret(wanted_sha256 bytea) RETURNS text
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
REVOKE ALL ON FUNCTION responsa.tenant_of_secret FROM public;
GRANT EXECUTE ON FUNCTION responsa.tenant_of_secret TO responsa_app;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;

-- A person at a provider is the pair of issuer and sub, whatever the e-mail address. A user may have several such identities, and unlinks them by their ids.
CREATE TABLE responsa.user_identity (
    tenant_id text NOT NULL,
    issuer text NOT NULL,
    sub text NOT NULL,
    user_id uuid NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    sign_in_time timestamptz, -- the latest; NULL until the first sign-in after the identity was linked
    id uuid NOT NULL DEFAULT uuidv7(),
    PRIMARY KEY (tenant_id, issuer, sub),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX user_identity_of_user ON responsa.user_identity (tenant_id, user_id);
CREATE UNIQUE INDEX user_identity_id ON responsa.user_identity (id);
GRANT SELECT, INSERT, DELETE, UPDATE (sign_in_time) ON responsa.user_identity TO responsa_app;

-- The states of sign-ins that have come back from a provider. A state is good once. The rest of a sign-in that has begun is in a sealed cookie of the browser.
CREATE TABLE responsa.oidc_state (
    state_sha256 bytea PRIMARY KEY CHECK (length(state_sha256) = 32),
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    expire_time timestamptz NOT NULL -- from then on, the cookie's own time refuses the state
);
CREATE INDEX oidc_state_of_tenant ON responsa.oidc_state (tenant_id, expire_time);
GRANT SELECT, INSERT, DELETE ON responsa.oidc_state TO responsa_app;

-- One row for each user who has used or reserved something. The row is changed in the transactions that accept and end turns. It is always the last row that such a
-- transaction locks, and a transaction locks the rows of several users in the order of their ids. There is no foreign key, so that a turn can end after its user
-- was deleted.
CREATE TABLE responsa.user_usage (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    reserved_tokens bigint NOT NULL DEFAULT 0, -- of the user's open turns
    reserved_micros bigint NOT NULL DEFAULT 0,
    day date NOT NULL, -- in UTC, as the month, which is given by its first day
    day_tokens bigint NOT NULL DEFAULT 0,
    day_micros bigint NOT NULL DEFAULT 0,
    month date NOT NULL,
    month_tokens bigint NOT NULL DEFAULT 0,
    month_micros bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, tenant_id)
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.user_usage TO responsa_app;

-- The limits that replace those of the user's role. A limit replaces the role's only if its name is in `fields`; NULL then lifts the role's limit.
CREATE TABLE responsa.user_quota (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    fields text[] NOT NULL,
    tokens_per_day bigint CHECK (tokens_per_day >= 0),
    tokens_per_month bigint CHECK (tokens_per_month >= 0),
    cost_micros_per_day bigint CHECK (cost_micros_per_day >= 0),
    cost_micros_per_month bigint CHECK (cost_micros_per_month >= 0),
    revision int NOT NULL DEFAULT 1,
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, tenant_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.user_quota TO responsa_app;

-- Counts what a user's turns have used, in the current day and month, and releases what they had reserved. A transaction that began before midnight may come after one
-- that began later; its usage then counts in the later day.
CREATE FUNCTION responsa.add_usage(of_tenant text, of_user uuid, tokens bigint, micros bigint, released_tokens bigint, released_micros bigint) RETURNS void
    LANGUAGE sql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp
    AS $$
        INSERT INTO responsa.user_usage AS u (tenant_id, user_id, day, day_tokens, day_micros, month, month_tokens, month_micros)
        VALUES (of_tenant, of_user, (now() AT TIME ZONE 'UTC')::date, tokens, micros, date_trunc('month', now() AT TIME ZONE 'UTC')::date, tokens, micros)
        ON CONFLICT (user_id, tenant_id) DO UPDATE SET
            reserved_tokens = u.reserved_tokens - released_tokens,
            reserved_micros = u.reserved_micros - released_micros,
            day = greatest(u.day, excluded.day),
            day_tokens = excluded.day_tokens + CASE WHEN u.day >= excluded.day THEN u.day_tokens ELSE 0 END,
            day_micros = excluded.day_micros + CASE WHEN u.day >= excluded.day THEN u.day_micros ELSE 0 END,
            month = greatest(u.month, excluded.month),
            month_tokens = excluded.month_tokens + CASE WHEN u.month >= excluded.month THEN u.month_tokens ELSE 0 END,
            month_micros = excluded.month_micros + CASE WHEN u.month >= excluded.month THEN u.month_micros ELSE 0 END
    $$;
-- Undoes the transaction unless the condition holds, so that a reservation needs no round trip after the statement that accepts its turn.
CREATE FUNCTION responsa.must_hold(condition boolean) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT condition THEN
        RAISE EXCEPTION 'the condition does not hold';
    END IF;
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION responsa.add_usage, responsa.must_hold FROM public;
GRANT EXECUTE ON FUNCTION responsa.add_usage, responsa.must_hold TO responsa_app;

-- An administrator's value for one limit of one user. The names are those of the server's settings (`limits.user`).
CREATE TABLE responsa.user_limit (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL CHECK (name ~ '^[a-z_]{1,40}$'),
    value bigint NOT NULL CHECK (value >= 0), -- 0: no limit
    PRIMARY KEY (tenant_id, user_id, name),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
GRANT SELECT, INSERT, DELETE, UPDATE (value) ON responsa.user_limit TO responsa_app;

-- Messages that were counted without Redis, before their turns were written. A row is of use for a minute; the next one of its user deletes it.
CREATE TABLE responsa.message_count (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    message_id uuid NOT NULL, -- the question's request_id, or the id of its turn
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, user_id, message_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
GRANT SELECT, INSERT, DELETE ON responsa.message_count TO responsa_app;

SELECT responsa.isolate_tenants(
    'user_password', 'refresh_token', 'invitation', 'reset_code', 'mail', 'email_confirmation', 'user_identity', 'oidc_state', 'user_usage',
    'user_quota', 'user_limit', 'message_count');

-- These two belong to the installation. Attempts are counted for names that may not exist, so a row has a keyed digest of the name and no tenant.
CREATE TABLE responsa.sign_in_attempt (
    subject bytea PRIMARY KEY CHECK (length(subject) = 32),
    failures int NOT NULL,
    end_time timestamptz NOT NULL -- of the window
);
CREATE INDEX sign_in_attempt_end ON responsa.sign_in_attempt (end_time);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.sign_in_attempt TO responsa_app;
CREATE TABLE responsa.signing_key (
    kid text PRIMARY KEY,
    sealed_key bytea NOT NULL, -- the private key, encrypted under the installation's secret file
    create_time timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, DELETE ON responsa.signing_key TO responsa_app;
