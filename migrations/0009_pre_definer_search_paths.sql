-- An empty search_path does not keep the session's temporary schema out: PostgreSQL searches it first for tables and types unless it is named. A role that
-- may create temporary objects could so run code with the rights of a function's owner. All functions that run as their owner now name pg_temp, last.
-- (search_lexical and search_nearest have always named it last.)
SET LOCAL lock_timeout = '10s';
ALTER FUNCTION responsa.find_api_key(bytea) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION responsa.find_session(bytea) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION responsa.use_session_code(bytea) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION responsa.make_turn_event_partitions(interval) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION responsa.pending_turns(int) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION responsa.detach_turn_events(interval) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION responsa.drop_turn_events() SET search_path = pg_catalog, pg_temp;

-- Responsa uses no temporary tables. Only the database's owner may take the right away; a migration that runs as another role leaves it as it is, and the
-- search paths above keep the functions safe without it.
DO $$
BEGIN
    IF (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
END
$$;
