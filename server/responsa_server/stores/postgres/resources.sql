-- The resources of one tenant (role responsa_app, tenant set). `resources.py` fills in `table`, `more`, and the columns that a call gives.

-- name: get
SELECT r.*{more} FROM responsa.{table} AS r WHERE r.tenant_id = %(tenant)s AND r.id = %(id)s

-- name: lock
{get} FOR UPDATE OF r

-- name: list
SELECT r.*{more} FROM responsa.{table} AS r WHERE r.tenant_id = %(tenant)s AND {where} ORDER BY {order} LIMIT %(limit)s

-- name: insert
INSERT INTO responsa.{table} AS r (id, tenant_id, {columns}) VALUES (%(id)s, %(tenant)s, {values})
ON CONFLICT DO NOTHING RETURNING r.*{more}

-- name: update
UPDATE responsa.{table} AS r SET {changes}, revision = revision + 1, update_time = clock_timestamp()
WHERE r.tenant_id = %(tenant)s AND r.id = %(id)s RETURNING r.*{more}

-- name: delete
DELETE FROM responsa.{table} WHERE tenant_id = %(tenant)s AND id = %(id)s
