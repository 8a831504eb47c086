-- Lists of a tenant's turns by their time: without this index, PostgreSQL reads all turns of the time, those of other tenants too. It holds only ended turns, so that no statement that finds
-- a turn by its key, and is planned while the table is nearly empty, takes it for as good as the key. The update that ends a turn writes other indexes already.
-- While a large table gets its index, no turn could begin or end. So `build_late_indexes` builds that one.
DO $$
BEGIN
    IF pg_relation_size('responsa.turn') < 32 * 1024 * 1024 THEN
        CREATE INDEX turn_of_tenant ON responsa.turn (tenant_id, create_time, id) WHERE end_time IS NOT NULL;
    END IF;
END
$$;
