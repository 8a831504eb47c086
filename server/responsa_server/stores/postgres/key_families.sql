-- Keys with the keys that were created with them, of one tenant (role responsa_app, tenant set).

-- name: revoke_keys_of
UPDATE responsa.api_key SET revoke_time = now()
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND revoke_time IS NULL
RETURNING id

-- name: revoke_children
-- A separate statement for each generation: it waits for the calls that are creating keys with the generation before,
-- and then sees these keys.
UPDATE responsa.api_key SET revoke_time = now()
WHERE tenant_id = %(tenant_id)s AND parent_id = ANY (%(parents)s::uuid[]) AND revoke_time IS NULL
RETURNING id
