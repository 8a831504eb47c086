-- To look a credential up takes PostgreSQL a quarter of the time that it takes to plan this, and every server waits for it. The rows of a credential are found by unique keys, so one plan suits
-- all tenants, and sessions keep the plans of these functions.
SET LOCAL lock_timeout = '10s';
SET LOCAL ROLE responsa_search;
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY['find_credential_of_key(bytea)', 'find_credential_of_session(bytea)', 'find_signed_in(bytea)', 'find_signed_in_as(uuid)', 'standing(uuid[])'] LOOP
        EXECUTE format('ALTER FUNCTION responsa.%s SET plan_cache_mode = force_generic_plan', signature);
        -- While a table is nearly empty, PostgreSQL would rather read all of it.
        EXECUTE format('ALTER FUNCTION responsa.%s SET enable_seqscan = off', signature);
    END LOOP;
END
$$;
RESET ROLE;
