-- Sources of one tenant (role responsa_app, tenant set).

-- name: state
-- What a source `r` has read, for the columns of a list.
, responsa.newest_run(r.tenant_id, r.id),
(SELECT max(o.update_time) FROM responsa.operation AS o
    WHERE o.tenant_id = r.tenant_id AND o.source_id = r.id AND o.kind = 'sync' AND o.stage = 'done'
        AND o.subject = '' AND NOT o.retry AND o.error_message IS NULL) AS check_time,
(SELECT count(*)::int FROM responsa.source_document AS d
    WHERE d.tenant_id = r.tenant_id AND d.source_id = r.id AND d.digest <> '') AS document_count,
(SELECT count(*)::int FROM responsa.source_failure AS f
    WHERE f.tenant_id = r.tenant_id AND f.source_id = r.id) AS failed_count,
(SELECT o.error_message FROM responsa.operation AS o
    WHERE o.tenant_id = r.tenant_id AND o.id = responsa.newest_run(r.tenant_id, r.id)) AS problem

-- name: insert
INSERT INTO responsa.source (id, tenant_id, display_name, mapping, folder, sealed_password, connection,
    collection, user_id, schedule_id, next_run_time)
VALUES (%(id)s, %(tenant)s, %(display_name)s, %(mapping)s, %(folder)s, coalesce(%(sealed_password)s::bytea, ''),
    %(connection)s, %(collection)s, %(user)s, %(schedule)s, %(next_run)s)
ON CONFLICT (tenant_id, id) DO NOTHING
RETURNING *;

-- name: mappings
SELECT id, mapping FROM responsa.source WHERE tenant_id = %(tenant)s AND folder IS NULL ORDER BY id;

-- name: connections
SELECT id, connection FROM responsa.source WHERE tenant_id = %(tenant)s AND folder IS NULL ORDER BY id;

-- name: documents
SELECT document_id FROM responsa.source_document WHERE tenant_id = %(tenant)s AND source_id = %(id)s;

-- name: folders
SELECT id, folder, sealed_password FROM responsa.source WHERE tenant_id = %(tenant)s AND sealed_password <> '' ORDER BY id;

-- name: update
-- changed: whether the mapping or the folder is another one, and with it the schedule.
UPDATE responsa.source AS s
    SET display_name = coalesce(%(display_name)s::text, display_name), mapping = coalesce(%(mapping)s::text, mapping),
    folder = coalesce(%(folder)s::jsonb, folder),
    sealed_password = coalesce(%(sealed_password)s::bytea, sealed_password),
    connection = coalesce(%(connection)s::text, connection), collection = coalesce(%(collection)s::text, collection),
    schedule_id = CASE WHEN %(changed)s THEN %(schedule)s::uuid ELSE schedule_id END,
    next_run_time = CASE WHEN %(changed)s THEN %(next_run)s::timestamptz ELSE next_run_time END,
    user_id = %(user)s, revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s
RETURNING s.*;
