-- Quotas: what each user's turns have used and reserved, and the limits that administrators set for single users.
SET LOCAL lock_timeout = '10s';

-- What an open turn has reserved, and may use. NULL: no quota limits it. An ended turn keeps the values.
ALTER TABLE responsa.turn
    ADD COLUMN reserved_tokens bigint,
    ADD COLUMN reserved_micros bigint,
    ADD COLUMN short_of_tokens boolean NOT NULL DEFAULT false, -- the quota had less left than the turn can use
    ADD COLUMN short_of_micros boolean NOT NULL DEFAULT false;
GRANT UPDATE (reserved_tokens, reserved_micros, short_of_tokens, short_of_micros) ON responsa.turn TO responsa_app;

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
REVOKE ALL ON FUNCTION responsa.add_usage(text, uuid, bigint, bigint, bigint, bigint), responsa.must_hold(boolean) FROM public;
GRANT EXECUTE ON FUNCTION responsa.add_usage(text, uuid, bigint, bigint, bigint, bigint), responsa.must_hold(boolean) TO responsa_app;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['user_usage', 'user_quota'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.user_usage, responsa.user_quota TO responsa_app;

ALTER TABLE responsa.message
    DROP CONSTRAINT message_refusal_check,
    ADD CONSTRAINT message_refusal_check CHECK (refusal IN ('no_support', 'out_of_scope', 'unsafe', 'budget', 'quota')) NOT VALID;
