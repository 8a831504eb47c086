-- Roles, restores and backups, the caller of a transaction, tenants, users, their groups, API keys and sessions, connected programs, and the functions that look credentials up.

-- Four roles (docs/architecture.md): the role that runs this owns everything; responsa_app serves one tenant at a time; responsa_log writes the turn log and runs jobs
-- over all tenants; responsa_search owns the functions that see all tenants, and cannot log in. They may exist already, with or without a login.
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
        -- where the roles were made with their own logins it may not have the right to become a member.
        -- A role that makes another one by CREATEROLE is its member for administration only: that permits neither SET ROLE nor giving functions to it.
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
    -- Responsa uses no temporary tables. Only the database's owner may take the right away. Without that, the functions that run as their owner stay safe, because their
    -- search paths name pg_temp, last: otherwise PostgreSQL would search it first for tables and types.
    IF (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
END
$$;

CREATE SCHEMA IF NOT EXISTS responsa;
GRANT USAGE ON SCHEMA responsa TO responsa_app, responsa_log, responsa_search;

-- A restored instance is paused: until `responsa activate` deletes this row, its servers do nothing outside. `restore` writes the row, in the transaction that makes this table.
CREATE TABLE responsa.pause (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    begin_time timestamptz NOT NULL DEFAULT now(),
    turns uuid[] -- those that were open in the backup: no worker takes them over. NULL: the restore has not ended, and no server may start.
);
GRANT SELECT ON responsa.pause TO responsa_app;
GRANT SELECT, UPDATE (turns), DELETE ON responsa.pause TO responsa_log;

-- When the newest complete backup began, for the servers' metrics: the command `backup` may run in another container, without their data folder.
CREATE TABLE responsa.last_backup (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    begin_time timestamptz NOT NULL
);
GRANT SELECT ON responsa.last_backup TO responsa_log;

-- The caller. Each transaction of responsa_app names it: the tenant (responsa.tenant_id), the user (responsa.user_id) and the role (responsa.role).

-- NULL when no tenant is set; a setting that was set in an earlier transaction reads as ''.
CREATE FUNCTION responsa.current_tenant() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('responsa.tenant_id', true), '');
-- 'user', 'admin' or 'service': the caller's role. 'system': the server itself, in a job or after it has checked what the caller may do. 'none': nobody yet, as connections
-- begin. '': the session names no caller, and reads nothing that has readers.
CREATE FUNCTION responsa.acting_role() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('responsa.role', true), '');
CREATE FUNCTION responsa.acting_user() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('responsa.user_id', true), '')::uuid;
-- Whether the transaction reads the whole tenant.
CREATE FUNCTION responsa.unrestricted() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('responsa.role', true), '') = 'system';
-- A transaction that searches computes what its reader may read once, at its beginning: responsa.readable and responsa.subjects hold it, and responsa.known_reader says whose it is.
CREATE FUNCTION responsa.reader() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN current_setting('responsa.tenant_id', true) || '/' || current_setting('responsa.user_id', true) || '/' || current_setting('responsa.role', true);

-- What every table of a tenant has. tenant_erasure is for erase_tenant_rows, which runs as the tables' owner; a test finds a table that lacks it.
CREATE FUNCTION responsa.isolate_tenants(VARIADIC tables text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY tables LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('CREATE POLICY tenant_erasure ON responsa.%I TO CURRENT_USER USING (tenant_id = responsa.current_tenant())', name);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION responsa.isolate_tenants FROM public;

CREATE TABLE responsa.tenant (
    id text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    display_name text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    home boolean NOT NULL DEFAULT false, -- the installation's first tenant; its administrators can be owners
    suspend_time timestamptz, -- NULL while the tenant's users may make calls
    erase_time timestamptz, -- when its erasure began, which nothing can stop; suspend_time is then set too
    end_time timestamptz, -- when nothing was left but this row and the audit log
    erased jsonb NOT NULL DEFAULT '{}', -- the number of erased rows of each table
    question_texts boolean NOT NULL DEFAULT false, -- whether administrators may read the texts of questions
    budget_micros bigint NOT NULL DEFAULT 0 CHECK (budget_micros >= 0), -- in a month (UTC), in millionths of a US dollar; 0: none
    CONSTRAINT tenant_home_stays CHECK (NOT (home AND suspend_time IS NOT NULL)),
    CONSTRAINT tenant_erased_is_suspended CHECK (erase_time IS NULL OR suspend_time IS NOT NULL)
);
CREATE UNIQUE INDEX tenant_home ON responsa.tenant (home) WHERE home;
CREATE INDEX tenant_suspended ON responsa.tenant (id) WHERE suspend_time IS NOT NULL AND end_time IS NULL;
ALTER TABLE responsa.tenant ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.tenant TO responsa_app
    USING (id = responsa.current_tenant()) WITH CHECK (id = responsa.current_tenant());
CREATE POLICY search_reads ON responsa.tenant FOR SELECT TO responsa_search USING (true);
CREATE POLICY log_reads ON responsa.tenant FOR SELECT TO responsa_log USING (true);
CREATE POLICY tenant_erasure ON responsa.tenant FOR SELECT TO CURRENT_USER USING (id = responsa.current_tenant());
GRANT SELECT, INSERT, UPDATE (display_name, suspend_time, erase_time, end_time, erased, question_texts, budget_micros) ON responsa.tenant TO responsa_app;
GRANT SELECT (id, question_texts, suspend_time, erase_time) ON responsa.tenant TO responsa_log;
GRANT SELECT ON responsa.tenant TO responsa_search;

CREATE TABLE responsa.app_user (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    display_name text NOT NULL,
    email text NOT NULL DEFAULT '', -- folded by the server
    role text NOT NULL CHECK (role IN ('user', 'admin', 'service')),
    create_time timestamptz NOT NULL DEFAULT now(),
    revision int NOT NULL DEFAULT 1,
    update_time timestamptz, -- NULL until the first change
    disable_time timestamptz, -- NULL while the user may make calls
    subject text NOT NULL DEFAULT '' CHECK (octet_length(subject) <= 200), -- whose documents the user reads, see responsa.document
    owner boolean NOT NULL DEFAULT false, -- counts only for an administrator of the home tenant
    last_sign_in_time timestamptz, -- the newest beginning of a session; NULL: never. It outlives the sessions.
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX app_user_email ON responsa.app_user (tenant_id, email) WHERE email <> '';
-- Lists of a tenant's users, and the lock on its administrators.
CREATE INDEX app_user_of_tenant ON responsa.app_user (tenant_id, create_time, id);
CREATE INDEX app_user_administrator ON responsa.app_user (tenant_id) WHERE role = 'admin' AND disable_time IS NULL;
CREATE POLICY search_reads ON responsa.app_user FOR SELECT TO responsa_search USING (true);
-- The tenant and the id never change. Only the erasing of a user deletes.
GRANT SELECT, INSERT, DELETE, UPDATE (display_name, email, role, revision, update_time, disable_time, subject, owner, last_sign_in_time)
    ON responsa.app_user TO responsa_app;
GRANT SELECT ON responsa.app_user TO responsa_search;

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
    parent_id uuid REFERENCES responsa.api_key (id), -- the key whose holder made this one, and with which it is revoked; NULL for keys of the command line on the server's machine
    role text CHECK (role = 'user'), -- NULL: the role of its user
    -- Whether it is the key of a widget (docs/adr/0082, 0088): everybody can read it, so it only asks, at the origins that a setting names. Whoever its user is, its calls
    -- have the role 'widget' in a transaction: they read the collections that are shared with the user by name, in these no document with a subject, and no turn that
    -- another kind of credential has asked.
    widget boolean NOT NULL DEFAULT false,
    agent text NOT NULL DEFAULT '' -- of a widget: agents/{id} or agents/{id}/versions/{n}; '': the default agent
        CHECK (agent ~ '^(agents/[a-z0-9][a-z0-9-]{0,62}(/versions/[1-9][0-9]{0,8})?)?$'),
    CONSTRAINT api_key_agent_of_widget CHECK (widget OR agent = ''),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE INDEX api_key_of_user ON responsa.api_key (tenant_id, user_id, create_time);
CREATE INDEX api_key_parent ON responsa.api_key (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX api_key_of_tenant ON responsa.api_key (tenant_id, create_time, id);
CREATE POLICY search_reads ON responsa.api_key FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.api_key TO responsa_app;
GRANT SELECT ON responsa.api_key TO responsa_search;

-- Programs that administrators have registered, so that people connect them to their accounts with OAuth (docs/adr/0107). Their client_id is the id, or
-- document_uri, of which the id is made then.
CREATE TABLE responsa.program (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    display_name text NOT NULL CHECK (octet_length(display_name) BETWEEN 1 AND 200),
    redirect_uris text[] NOT NULL CHECK (cardinality(redirect_uris) BETWEEN 1 AND 10),
    document_uri text NOT NULL CHECK (length(document_uri) <= 2048), -- '' without one
    revision bigint NOT NULL DEFAULT 1, -- counts the changes; the etag is made of it
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX program_by_creation ON responsa.program (tenant_id, create_time, id);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.program TO responsa_app;

-- The addresses of programs whose own registration was refused for them, as rows of the installation's own tenant: those that an owner has allowed, and 100 others, of
-- every network address its newest. `ask_for_redirects` inserts them, before any tenant is known.
CREATE TABLE responsa.asked_program (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    redirect_uri text NOT NULL CHECK (octet_length(redirect_uri) BETWEEN 1 AND 1024),
    display_name text NOT NULL CHECK (length(display_name) <= 200), -- what the program says of itself
    allowed boolean NOT NULL DEFAULT false,
    ask_time timestamptz NOT NULL DEFAULT now(), -- the last time
    network bytea NOT NULL DEFAULT '', -- a digest of the network address that asked last
    revision bigint NOT NULL DEFAULT 1, -- counts the changes; the etag is made of it
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT asked_program_once UNIQUE (tenant_id, redirect_uri)
);
CREATE POLICY search_asks ON responsa.asked_program TO responsa_search USING (true);
GRANT SELECT, UPDATE, DELETE ON responsa.asked_program TO responsa_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.asked_program TO responsa_search;

-- A session is a browser's (token_sha256 is of its cookie) or a program's (token_sha256 is of the newest refresh token).
CREATE TABLE responsa.session (
    token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz NOT NULL,
    api_key_id uuid REFERENCES responsa.api_key (id), -- the key that began it, and with which it ends
    id uuid NOT NULL DEFAULT uuidv7(),
    kind text NOT NULL DEFAULT 'browser' CHECK (kind IN ('browser', 'tokens')),
    sign_in_time timestamptz NOT NULL DEFAULT now(),
    last_use_time timestamptz NOT NULL DEFAULT now(),
    address text NOT NULL DEFAULT '',
    user_agent text NOT NULL DEFAULT '',
    -- A session of the kind 'tokens' may be a program's. Its first refresh token is the authorisation code, which is exchanged with these values within a minute.
    client_id text CHECK (length(client_id) BETWEEN 1 AND 2048), -- NULL: not a program's
    client_name text,
    redirect_uri text,
    code_challenge text CHECK (length(code_challenge) = 43), -- S256 (RFC 7636)
    scopes text[],
    resource text, -- the audience of its access tokens (RFC 8707)
    program_id uuid REFERENCES responsa.program (id) ON DELETE CASCADE, -- the registered program; NULL for others
    CHECK (num_nulls(client_id, client_name, redirect_uri, code_challenge, scopes, resource) IN (0, 6)),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE UNIQUE INDEX session_id ON responsa.session (id);
CREATE UNIQUE INDEX session_in_tenant ON responsa.session (tenant_id, id);
CREATE INDEX session_of_program ON responsa.session (program_id) WHERE program_id IS NOT NULL;
CREATE INDEX session_of_user ON responsa.session (tenant_id, user_id, create_time);
CREATE POLICY search_reads ON responsa.session FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE, UPDATE (token_sha256, expire_time, last_use_time) ON responsa.session TO responsa_app;
GRANT SELECT ON responsa.session TO responsa_search;

CREATE TABLE responsa.session_code (
    code_sha256 bytea PRIMARY KEY CHECK (length(code_sha256) = 32),
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    expire_time timestamptz NOT NULL,
    api_key_id uuid REFERENCES responsa.api_key (id), -- the key whose holder asked for the code
    session_id uuid, -- the session that asked for it; NULL for a code that an API key made: it is a sign-in by itself
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES responsa.session (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX session_code_of_session ON responsa.session_code (tenant_id, session_id);
CREATE POLICY search_uses ON responsa.session_code TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE ON responsa.session_code TO responsa_app;
GRANT SELECT, DELETE ON responsa.session_code TO responsa_search;

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
CREATE POLICY search_reads ON responsa.service_grant FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE ON responsa.service_grant TO responsa_app;
GRANT SELECT ON responsa.service_grant TO responsa_search;

-- Groups of users, with which collections are shared.
CREATE TABLE responsa.user_group (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    display_name text NOT NULL CHECK (octet_length(display_name) BETWEEN 1 AND 200),
    provider_groups jsonb NOT NULL DEFAULT '[]', -- whose people at a sign-in provider are members: [{"issuer": …, "value": …}, …]
    revision bigint NOT NULL DEFAULT 1, -- counts the changes; the etag is made of it
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id)
);
CREATE INDEX user_group_by_creation ON responsa.user_group (tenant_id, create_time, id);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.user_group TO responsa_app;

-- A user may be a member by an administrator, and by groups of sign-in providers, which each sign-in replaces.
CREATE TABLE responsa.group_member (
    tenant_id text NOT NULL,
    group_id uuid NOT NULL,
    user_id uuid NOT NULL,
    issuer text NOT NULL DEFAULT '', -- of the provider; '': by an administrator
    value text NOT NULL DEFAULT '', -- of the provider's claim
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz NOT NULL DEFAULT 'infinity', -- from then on, it gives no rights
    PRIMARY KEY (tenant_id, user_id, group_id, issuer, value),
    FOREIGN KEY (tenant_id, group_id) REFERENCES responsa.user_group (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX group_member_of_group ON responsa.group_member (tenant_id, group_id, create_time, user_id);
CREATE POLICY search_reads ON responsa.group_member FOR SELECT TO responsa_search USING (true);
GRANT SELECT, INSERT, DELETE ON responsa.group_member TO responsa_app;
GRANT SELECT ON responsa.group_member TO responsa_search;

SELECT responsa.isolate_tenants('app_user', 'api_key', 'program', 'asked_program', 'session', 'session_code', 'service_grant', 'user_group', 'group_member');

-- Whose credential is this? The question comes before the tenant is known, so functions answer it that see all tenants and report only the exact match.
-- Looking up a credential takes PostgreSQL about a third of the time that planning this takes, and calls wait for both. The rows are found by unique keys, so one
-- plan suits all tenants, and connections keep it. Without enable_seqscan = off, the plan of a nearly empty table would be to read all of it.
GRANT CREATE ON SCHEMA responsa TO responsa_search; -- a function's owner must be allowed to create in its schema
SET LOCAL ROLE responsa_search;
-- role: the narrower one of the user and of the key, or of the key that began the session. The key of a widget has no more than the role 'user'. The users of a suspended tenant are disabled.
CREATE FUNCTION responsa.find_caller_of_key(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, expired boolean, revoked boolean, disabled boolean, widget boolean, agent text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    AS $$
        SELECT k.id, k.tenant_id, k.user_id, CASE WHEN k.widget THEN 'user' ELSE coalesce(k.role, u.role) END, coalesce(k.expire_time <= now(), false),
            k.revoke_time IS NOT NULL, u.disable_time IS NOT NULL OR t.suspend_time IS NOT NULL, k.widget, k.agent
        FROM responsa.api_key AS k
        JOIN responsa.app_user AS u ON u.id = k.user_id
        JOIN responsa.tenant AS t ON t.id = k.tenant_id
        WHERE k.secret_sha256 = wanted_sha256
    $$;
CREATE FUNCTION responsa.find_signed_in(wanted_sha256 bytea)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, api_key_id uuid, expired boolean, disabled boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    AS $$
        SELECT s.id, s.tenant_id, s.user_id, coalesce(k.role, u.role), s.api_key_id,
            s.expire_time <= now() OR k.revoke_time IS NOT NULL OR coalesce(k.expire_time <= now(), false), u.disable_time IS NOT NULL OR t.suspend_time IS NOT NULL
        FROM responsa.session AS s
        JOIN responsa.app_user AS u ON u.id = s.user_id
        JOIN responsa.tenant AS t ON t.id = s.tenant_id
        LEFT JOIN responsa.api_key AS k ON k.id = s.api_key_id
        WHERE s.token_sha256 = wanted_sha256
    $$;
-- The same for the session that an access token names. It calls that function, so that whatever refuses a session is written in one place.
CREATE FUNCTION responsa.find_signed_in_as(wanted_id uuid)
    RETURNS TABLE (id uuid, tenant_id text, user_id uuid, role text, api_key_id uuid, expired boolean, disabled boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    AS $$
        SELECT f.* FROM responsa.session AS s CROSS JOIN LATERAL responsa.find_signed_in(s.token_sha256) AS f
        WHERE s.id = wanted_id AND s.kind = 'tokens'
    $$;
-- Only one caller can use a code: the one that deletes its row. sign_in_time: that of the session that made the code, or NULL.
CREATE FUNCTION responsa.take_sign_in_code(wanted_sha256 bytea)
    RETURNS TABLE (tenant_id text, user_id uuid, api_key_id uuid, expired boolean, sign_in_time timestamptz)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        WITH taken AS (DELETE FROM responsa.session_code AS c WHERE c.code_sha256 = wanted_sha256 RETURNING c.*)
        SELECT c.tenant_id, c.user_id, c.api_key_id,
            c.expire_time <= now() OR k.revoke_time IS NOT NULL OR coalesce(k.expire_time <= now() OR s.expire_time <= now(), false) OR t.suspend_time IS NOT NULL, s.sign_in_time
        FROM taken AS c
        JOIN responsa.tenant AS t ON t.id = c.tenant_id
        LEFT JOIN responsa.api_key AS k ON k.id = c.api_key_id
        LEFT JOIN responsa.session AS s ON s.id = c.session_id
    $$;

-- A program asks for addresses that are not allowed. name: what it says of itself. network: a digest of its network address, whose own older addresses give way first.
CREATE FUNCTION responsa.ask_for_redirects(name text, uris text[], network bytea) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        INSERT INTO responsa.asked_program AS a (tenant_id, redirect_uri, display_name, network)
        SELECT t.id, uri, name, network FROM responsa.tenant AS t CROSS JOIN (SELECT DISTINCT unnest(uris) ORDER BY 1) AS asked (uri) WHERE t.home
        ON CONFLICT ON CONSTRAINT asked_program_once DO UPDATE SET display_name = excluded.display_name, ask_time = now(), network = excluded.network,
            -- Whoever allows a name that has changed meanwhile gets a conflict.
            revision = a.revision + (a.display_name <> excluded.display_name)::int,
            update_time = CASE WHEN a.display_name <> excluded.display_name THEN now() ELSE a.update_time END WHERE NOT a.allowed;
        DELETE FROM responsa.asked_program WHERE NOT allowed AND id NOT IN (
            SELECT a.id FROM responsa.asked_program AS a WHERE NOT a.allowed
            ORDER BY row_number() OVER (PARTITION BY a.network ORDER BY a.ask_time DESC, a.id DESC), a.ask_time DESC, a.id DESC LIMIT 100)
    $$;
-- Those of these addresses that an owner has allowed.
CREATE FUNCTION responsa.allowed_redirects(uris text[]) RETURNS SETOF text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT redirect_uri FROM responsa.asked_program WHERE allowed AND redirect_uri = ANY (uris) $$;

-- Which of these users, keys and sessions may no longer make calls? A process asks this for all its open streams, of whatever tenants, at once. A session has ended if it was deleted,
-- has expired, or began with a key that has ended.
CREATE FUNCTION responsa.ended_credentials(users uuid[], keys uuid[], sessions uuid[])
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
        UNION ALL
        SELECT wanted.id, false, false
        FROM unnest(sessions) AS wanted (id)
        LEFT JOIN responsa.session AS s ON s.id = wanted.id
        LEFT JOIN responsa.api_key AS k ON k.id = s.api_key_id
        WHERE s.id IS NULL OR s.expire_time <= now() OR k.revoke_time IS NOT NULL OR k.expire_time <= now()
    $$;
-- Those of these users who are disabled or deleted, whose tenant is suspended, or who have another role or ownership than given here; and those of these keys and sessions that
-- have ended. roles, owners: one of each for each user; a role that is NULL is not compared, nor is the ownership next to it. One statement asks for thousands of callers, such as
-- those of idle WebSockets.
CREATE FUNCTION responsa.changed_callers(users uuid[], roles text[], owners boolean[], keys uuid[], sessions uuid[]) RETURNS SETOF uuid
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
-- Whether a user is an owner of the installation, and whether the user's tenant is suspended. Users that do not exist are left out.
CREATE FUNCTION responsa.standing(users uuid[]) RETURNS TABLE (user_id uuid, owner boolean, suspended boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    AS $$
        SELECT u.id, u.owner AND u.role = 'admin' AND u.disable_time IS NULL AND t.home, t.suspend_time IS NOT NULL
        FROM responsa.app_user AS u JOIN responsa.tenant AS t ON t.id = u.tenant_id
        WHERE u.id = ANY (users)
    $$;
-- The same for one user, with the role.
CREATE FUNCTION responsa.standing_of(wanted uuid) RETURNS TABLE (role text, owner boolean, suspended boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT u.role, u.owner AND u.role = 'admin' AND u.disable_time IS NULL AND t.home, t.suspend_time IS NOT NULL
        FROM responsa.app_user AS u JOIN responsa.tenant AS t ON t.id = u.tenant_id
        WHERE u.id = wanted
    $$;
CREATE FUNCTION responsa.role_of(wanted uuid) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT u.role FROM responsa.app_user AS u WHERE u.id = wanted $$;
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

REVOKE ALL ON FUNCTION responsa.find_caller_of_key, responsa.find_signed_in, responsa.find_signed_in_as, responsa.take_sign_in_code, responsa.ask_for_redirects, responsa.allowed_redirects, responsa.ended_credentials,
    responsa.changed_callers, responsa.standing, responsa.standing_of, responsa.role_of, responsa.granted, responsa.all_tenants, responsa.suspended_tenants FROM public;
GRANT EXECUTE ON FUNCTION responsa.find_caller_of_key, responsa.find_signed_in, responsa.find_signed_in_as, responsa.take_sign_in_code, responsa.ask_for_redirects, responsa.allowed_redirects, responsa.ended_credentials,
    responsa.changed_callers, responsa.standing, responsa.standing_of, responsa.role_of, responsa.granted, responsa.all_tenants TO responsa_app;
GRANT EXECUTE ON FUNCTION responsa.role_of, responsa.suspended_tenants TO responsa_log;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
