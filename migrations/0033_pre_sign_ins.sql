-- Codes that a session makes end with the session and are as recent as its sign-in, and external identities have ids, so that people can see and unlink them.
SET LOCAL lock_timeout = '10s';

-- NULL for a code that an API key made: it is a sign-in by itself.
ALTER TABLE responsa.session_code ADD COLUMN session_id uuid,
    ADD FOREIGN KEY (tenant_id, session_id) REFERENCES responsa.session (tenant_id, id) ON DELETE CASCADE;
CREATE INDEX session_code_of_session ON responsa.session_code (tenant_id, session_id);
ALTER TABLE responsa.user_identity ADD COLUMN id uuid NOT NULL DEFAULT uuidv7();
CREATE UNIQUE INDEX user_identity_id ON responsa.user_identity (id);

-- As take_session_code, which the release before calls, with the time of the sign-in: that of the session that made the code, or NULL.
CREATE FUNCTION responsa.take_sign_in_code(wanted_sha256 bytea)
    RETURNS TABLE (tenant_id text, user_id uuid, api_key_id uuid, expired boolean, sign_in_time timestamptz)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        WITH made AS (
            SELECT s.sign_in_time, s.expire_time <= now() AS ended
            FROM responsa.session_code AS c JOIN responsa.session AS s ON s.id = c.session_id WHERE c.code_sha256 = wanted_sha256
        )
        SELECT t.tenant_id, t.user_id, t.api_key_id, t.expired OR coalesce(made.ended, false), made.sign_in_time
        FROM responsa.take_session_code(wanted_sha256) AS t LEFT JOIN made ON true
    $$;

-- A function's owner must be allowed to create in its schema at the moment it is given away.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
ALTER FUNCTION responsa.take_sign_in_code(bytea) OWNER TO responsa_search;
SET LOCAL ROLE responsa_search;
REVOKE ALL ON FUNCTION responsa.take_sign_in_code(bytea) FROM public;
GRANT EXECUTE ON FUNCTION responsa.take_sign_in_code(bytea) TO responsa_app;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
