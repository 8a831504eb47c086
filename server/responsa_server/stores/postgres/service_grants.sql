-- Service grants of one tenant (role responsa_app, tenant set).

-- name: hold_user
-- A change of the user's role, or a disabling, waits until the grant is stored.
SELECT role, disable_time IS NOT NULL AS disabled FROM responsa.app_user WHERE tenant_id = %(tenant)s AND id = %(id)s FOR SHARE;

-- name: add
INSERT INTO responsa.service_grant (id, tenant_id, service_id, user_id) VALUES (%(id)s, %(tenant)s, %(service)s, %(user)s)
ON CONFLICT ON CONSTRAINT service_grant_once DO NOTHING
RETURNING id, tenant_id, service_id, user_id, create_time;

-- name: find
SELECT id, tenant_id, service_id, user_id, create_time FROM responsa.service_grant
WHERE tenant_id = %(tenant)s AND service_id = %(service)s AND user_id IS NOT DISTINCT FROM %(user)s::uuid;

-- name: list
SELECT id, tenant_id, service_id, user_id, create_time FROM responsa.service_grant
WHERE tenant_id = %(tenant)s AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: remove
DELETE FROM responsa.service_grant WHERE tenant_id = %(tenant)s AND id = %(id)s
RETURNING id, tenant_id, service_id, user_id, create_time;
