-- More about each audited act, and the end of old events.
SET LOCAL lock_timeout = '10s';

ALTER TABLE responsa.audit_event
    ADD COLUMN address text NOT NULL DEFAULT '', -- the caller's; '' for commands on the server's machine, and before this release
    ADD COLUMN call_id text NOT NULL DEFAULT '',
    ADD COLUMN outcome text NOT NULL DEFAULT 'OK'; -- or the reason of a refusal
CREATE INDEX audit_event_of_tenant ON responsa.audit_event (tenant_id, create_time DESC, id DESC);
CREATE INDEX audit_event_time ON responsa.audit_event (create_time);

-- No role of the server may change or delete events; responsa_app may only add and read them. The function below, which runs as the table's owner, deletes old ones. The
-- policies let the owner see nothing else, and the function keeps 30 days whatever its caller asks for.
CREATE POLICY owner_finds_old ON responsa.audit_event FOR SELECT TO CURRENT_USER USING (create_time < now() - interval '30 days');
CREATE POLICY owner_prunes ON responsa.audit_event FOR DELETE TO CURRENT_USER USING (create_time < now() - interval '30 days');
CREATE FUNCTION responsa.prune_audit_events(older_than interval, most int) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        WITH pruned AS (
            DELETE FROM responsa.audit_event AS e WHERE e.id IN (
                SELECT old.id FROM responsa.audit_event AS old
                WHERE old.create_time < now() - greatest(older_than, interval '30 days') LIMIT most)
            RETURNING 1
        )
        SELECT count(*) FROM pruned
    $$;
REVOKE ALL ON FUNCTION responsa.prune_audit_events(interval, int) FROM public;
GRANT EXECUTE ON FUNCTION responsa.prune_audit_events(interval, int) TO responsa_log;
