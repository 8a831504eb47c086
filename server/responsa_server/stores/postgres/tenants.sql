-- Tenants, as the owner of the installation administers them (role responsa_app; the tenant that is named is set).

-- name: columns
id, display_name, create_time, home, suspend_time, erase_time, end_time, erased

-- name: get
SELECT {columns} FROM responsa.tenant WHERE id = %(tenant)s;

-- name: lock
SELECT {columns} FROM responsa.tenant
    WHERE id = %(tenant)s FOR NO KEY UPDATE;

-- name: list
SELECT {columns} FROM responsa.all_tenants()
WHERE {where} ORDER BY {order} LIMIT %(limit)s;

-- name: suspended
SELECT {columns} FROM responsa.all_tenants()
WHERE suspend_time IS NOT NULL AND end_time IS NULL ORDER BY id;

-- name: suspend
UPDATE responsa.tenant SET suspend_time = coalesce(suspend_time, clock_timestamp()),
    erase_time = CASE WHEN %(erase)s THEN clock_timestamp() ELSE erase_time END
WHERE id = %(tenant)s
RETURNING {columns};

-- name: resume
UPDATE responsa.tenant SET suspend_time = NULL WHERE id = %(tenant)s
RETURNING {columns};

-- name: open_turns
SELECT id, user_id FROM responsa.turn WHERE tenant_id = %(tenant)s AND state IN ('queued', 'pending', 'running') LIMIT 200;

-- name: erased_tables
-- The tables with rows of tenants: the tables to which their foreign keys refer, and whether their rows can be found by
-- turn. The audit log stays.
SELECT c.relname::text AS name,
    coalesce(array_agg(DISTINCT r.relname::text) FILTER (WHERE r.oid IS NOT NULL), '{}') AS refers_to,
    EXISTS (SELECT FROM pg_index AS i JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attnum = i.indkey[0]
        AND t.attname = 'turn_id' WHERE i.indrelid = c.oid) AS of_turns
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'f'
LEFT JOIN pg_class AS r ON r.oid = k.confrelid
WHERE c.relnamespace = 'responsa'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'audit_event'
GROUP BY c.oid, c.relname ORDER BY 1;

-- name: lock_erasure
SELECT pg_try_advisory_xact_lock(hashtextextended('responsa.erasure', 0) # hashtextextended(%(tenant)s, 0));

-- name: some_turns
SELECT id FROM responsa.turn WHERE tenant_id = %(tenant)s LIMIT %(most)s;

-- name: erase
SELECT responsa.erase_tenant_rows(%(table)s, %(most)s::int, %(turns)s::uuid[]);

-- name: erase_addresses
SELECT responsa.erase_audit_addresses();

-- name: count
UPDATE responsa.tenant
    SET erased = jsonb_set(erased, ARRAY[%(kind)s::text], to_jsonb(coalesce((erased ->> %(kind)s::text)::bigint, 0) + %(number)s::bigint))
WHERE id = %(tenant)s;

-- name: end
UPDATE responsa.tenant SET end_time = clock_timestamp(), display_name = '' WHERE id = %(tenant)s;

-- name: jobs_left (log)
SELECT id FROM procrastinate.procrastinate_jobs WHERE args ->> 'tenant_id' = %(tenant)s LIMIT 1;

-- name: drop_jobs (log)
DELETE FROM procrastinate.procrastinate_jobs WHERE args ->> 'tenant_id' = %(tenant)s AND status <> 'doing';
