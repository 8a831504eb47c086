-- Some databases have applied earlier forms of 0011, 0015 and 0027 (`EARLIER_FORMS` in stores/postgres/migrate.py). They get what those forms lacked; in other databases nothing changes.
GRANT SELECT (erase_time) ON responsa.tenant TO responsa_log;
CREATE OR REPLACE FUNCTION responsa.note_pattern_loss() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- The patterns of a tenant that is being erased end with it.
    INSERT INTO responsa.pattern_loss (tenant_id, pattern_id, titled)
    SELECT OLD.tenant_id, OLD.pattern_id, OLD.titled
    WHERE NOT EXISTS (SELECT FROM responsa.tenant WHERE id = OLD.tenant_id AND erase_time IS NOT NULL);
    RETURN NULL;
END
$$;

SELECT '[1]'::halfvec; -- loads pgvector, so that PostgreSQL knows its settings
GRANT CREATE ON SCHEMA responsa TO responsa_search; -- a function's owner must be allowed to create in its schema
SET LOCAL ROLE responsa_search;
-- Each function differs in one place, so that place alone is replaced.
DO $$
DECLARE
    changed record;
BEGIN
    FOR changed IN
        SELECT replace(pg_get_functiondef(p.oid), f.earlier, f.now) AS definition
        FROM (VALUES
            ('search_words',
                'CASE WHEN cardinality(ids) - passed < 50 THEN',
                'CASE WHEN cardinality(ids) - passed < 10 THEN 4 WHEN cardinality(ids) - passed < 50 THEN'),
            ('search_nearest_within',
                '        IF exact OR (documents IS NULL AND (
            responsa.few_of_many(tenant, collections) OR (subjects IS NOT NULL AND responsa.few_readable(tenant, collections, subjects))))',
                '        IF exact
            OR responsa.few_of_many(tenant, collections)
            OR (documents IS NULL AND subjects IS NOT NULL AND responsa.few_readable(tenant, collections, subjects))'),
            ('search_generations',
                '        IF exact OR (documents IS NULL AND (
            responsa.few_of_many(tenant, readable) OR (subjects IS NOT NULL AND responsa.few_readable(tenant, readable, subjects))))',
                '        IF exact
            OR responsa.few_of_many(tenant, readable) -- also of the collections that the search leaves out
            OR (documents IS NULL AND subjects IS NOT NULL AND responsa.few_readable(tenant, readable, subjects))')
        ) AS f (name, earlier, now)
        JOIN pg_proc AS p ON p.pronamespace = 'responsa'::regnamespace AND p.proname = f.name
        WHERE strpos(p.prosrc, f.earlier) > 0
    LOOP
        EXECUTE changed.definition;
    END LOOP;
END
$$;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
