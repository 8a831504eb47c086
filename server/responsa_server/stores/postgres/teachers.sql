-- Teachers of one tenant (role responsa_app, tenant set).

-- name: insert
INSERT INTO responsa.teacher (id, tenant_id, display_name, persona, parameters)
VALUES (%(id)s, %(tenant)s, %(display_name)s, %(persona)s, %(parameters)s)
ON CONFLICT (id, tenant_id) DO NOTHING
RETURNING id, display_name, persona, parameters, revision, create_time, update_time;

-- name: get
SELECT id, display_name, persona, parameters, revision, create_time, update_time FROM responsa.teacher
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: lock
SELECT id, display_name, persona, parameters, revision, create_time, update_time FROM responsa.teacher
WHERE tenant_id = %(tenant)s AND id = %(id)s FOR UPDATE;

-- name: list
SELECT id, display_name, persona, parameters, revision, create_time, update_time FROM responsa.teacher
WHERE tenant_id = %(tenant)s AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: update
UPDATE responsa.teacher SET display_name = coalesce(%(display_name)s::text, display_name), persona = coalesce(%(persona)s::text, persona),
    parameters = coalesce(%(parameters)s::jsonb, parameters), revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s
RETURNING id, display_name, persona, parameters, revision, create_time, update_time;

-- name: delete
DELETE FROM responsa.teacher WHERE tenant_id = %(tenant)s AND id = %(id)s;
