-- Limits: the exceptions of users, the messages that are counted while Redis is away, and the stored bytes and open turns by user.
SET LOCAL lock_timeout = '10s';

-- An administrator's value for one limit of one user. The names are those of the server's settings (`limits.user`).
CREATE TABLE responsa.user_limit (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL CHECK (name ~ '^[a-z_]{1,40}$'),
    value bigint NOT NULL CHECK (value >= 0), -- 0: no limit
    PRIMARY KEY (tenant_id, user_id, name),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);

-- Messages that were counted without Redis, before their turns were written. A row is of use for a minute; the next one of its user deletes it.
CREATE TABLE responsa.message_count (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    message_id uuid NOT NULL, -- the question's request_id, or the id of its turn
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, user_id, message_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['user_limit', 'message_count'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE (value), DELETE ON responsa.user_limit TO responsa_app;
GRANT SELECT, INSERT, DELETE ON responsa.message_count TO responsa_app;

-- The open turns of a user and of a tenant.
CREATE INDEX turn_open_of_user ON responsa.turn (tenant_id, user_id) WHERE state IN ('queued', 'pending', 'running');

-- Whether a user may have another open turn, as responsa_app with the tenant set; 0: no limit. The function is volatile, so that the user's count sees the turns that
-- other calls of the user have committed while this one waited for the lock, which ends with the transaction. No lock guards the tenant's count, because users would wait
-- for the commits of others: questions that are accepted at the same moment may exceed it.
CREATE FUNCTION responsa.has_room_for_turn(wanted_tenant text, wanted_user uuid, most_of_user bigint, most_of_tenant bigint) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF most_of_user > 0 THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('responsa.turns ' || wanted_user::text, 0));
        IF (SELECT count(*) FROM (SELECT FROM responsa.turn WHERE tenant_id = wanted_tenant AND user_id = wanted_user
                AND state IN ('queued', 'pending', 'running') LIMIT most_of_user) AS open) >= most_of_user THEN
            RETURN false;
        END IF;
    END IF;
    RETURN most_of_tenant = 0 OR (SELECT count(*) FROM (SELECT FROM responsa.turn WHERE tenant_id = wanted_tenant
        AND state IN ('queued', 'pending', 'running') LIMIT most_of_tenant) AS open) < most_of_tenant;
END
$$;
REVOKE ALL ON FUNCTION responsa.has_room_for_turn(text, uuid, bigint, bigint) FROM public;
GRANT EXECUTE ON FUNCTION responsa.has_room_for_turn(text, uuid, bigint, bigint) TO responsa_app;
