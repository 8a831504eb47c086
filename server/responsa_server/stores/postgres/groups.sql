-- The members of groups (role responsa_app, tenant set).

-- name: unknown_users
SELECT w.place - 1 FROM unnest(%(users)s::uuid[]) WITH ORDINALITY AS w (user_id, place)
WHERE NOT EXISTS (SELECT FROM responsa.app_user AS u WHERE u.tenant_id = %(tenant)s AND u.id = w.user_id)
ORDER BY w.place LIMIT 1;

-- name: add
INSERT INTO responsa.group_member (tenant_id, group_id, user_id)
SELECT %(tenant)s, %(id)s, u.id FROM responsa.app_user AS u WHERE u.tenant_id = %(tenant)s AND u.id = ANY (%(users)s::uuid[])
ORDER BY u.id
ON CONFLICT DO NOTHING
RETURNING user_id;

-- name: remove
DELETE FROM responsa.group_member WHERE tenant_id = %(tenant)s AND group_id = %(id)s AND user_id = ANY (%(users)s::uuid[])
RETURNING user_id;

-- name: members
SELECT m.user_id AS id, m.user_id, u.display_name, u.email, m.create_time
FROM responsa.group_member AS m JOIN responsa.app_user AS u ON u.tenant_id = m.tenant_id AND u.id = m.user_id
WHERE m.tenant_id = %(tenant)s AND m.group_id = %(id)s AND {where} ORDER BY {order} LIMIT %(limit)s;
