-- One statement shows for thousands of callers at once, such as those of idle WebSockets, whether any of them has changed. `role_of` needed a call of a function for each of them.
SET LOCAL lock_timeout = '10s';
-- A function's owner must be allowed to create in its schema.
GRANT CREATE ON SCHEMA responsa TO responsa_search;
SET LOCAL ROLE responsa_search;

-- Those of these users who are disabled or deleted, whose tenant is suspended, or who have another role or ownership than given here; and those of these keys and sessions that have ended.
-- roles, owners: one of each for each user.
CREATE FUNCTION responsa.changed_callers(users uuid[], roles text[], owners boolean[], keys uuid[], sessions uuid[]) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT known.id
        FROM unnest(users, roles, owners) AS known (id, role, owner)
        LEFT JOIN responsa.app_user AS u ON u.id = known.id
        LEFT JOIN responsa.tenant AS t ON t.id = u.tenant_id
        WHERE u.role IS DISTINCT FROM known.role OR u.disable_time IS NOT NULL OR t.suspend_time IS NOT NULL
            OR (u.owner AND u.role = 'admin' AND t.home) IS DISTINCT FROM known.owner
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
REVOKE ALL ON FUNCTION responsa.changed_callers(uuid[], text[], boolean[], uuid[], uuid[]) FROM public;
GRANT EXECUTE ON FUNCTION responsa.changed_callers(uuid[], text[], boolean[], uuid[], uuid[]) TO responsa_app;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
