-- Looking up a credential takes PostgreSQL about a third of the time that planning this takes, and calls wait for both. The functions find the rows of a credential by unique keys, so one plan
-- suits all tenants, and connections keep it.
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
