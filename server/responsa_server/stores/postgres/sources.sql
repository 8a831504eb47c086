-- Sources of one tenant (role responsa_app, tenant set).

-- name: insert
INSERT INTO responsa.source (id, tenant_id, display_name, mapping, connection, collection, user_id, schedule_id, next_run_time)
VALUES (%(id)s, %(tenant)s, %(display_name)s, %(mapping)s, %(connection)s, %(collection)s, %(user)s, %(schedule)s, %(next_run)s)
ON CONFLICT (tenant_id, id) DO NOTHING
RETURNING *;

-- name: mappings
SELECT id, mapping FROM responsa.source WHERE tenant_id = %(tenant)s ORDER BY id;

-- name: connections
SELECT id, connection FROM responsa.source WHERE tenant_id = %(tenant)s ORDER BY id;

-- name: update
UPDATE responsa.source AS s
    SET display_name = coalesce(%(display_name)s::text, display_name), mapping = coalesce(%(mapping)s::text, mapping),
    connection = coalesce(%(connection)s::text, connection), collection = coalesce(%(collection)s::text, collection),
    schedule_id = CASE WHEN %(mapping)s::text IS NULL THEN schedule_id ELSE %(schedule)s::uuid END,
    next_run_time = CASE WHEN %(mapping)s::text IS NULL THEN next_run_time ELSE %(next_run)s::timestamptz END,
    user_id = %(user)s, revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s
RETURNING s.*, responsa.newest_run(s.tenant_id, s.id);
