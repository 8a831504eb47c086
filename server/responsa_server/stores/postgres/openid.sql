-- External identities of one tenant (role responsa_app, tenant set).

-- name: drop_states
DELETE FROM responsa.oidc_state WHERE tenant_id = %(tenant_id)s AND expire_time <= now()

-- name: use_state
INSERT INTO responsa.oidc_state (state_sha256, tenant_id, expire_time)
SELECT %(state)s, t.id, now() + make_interval(secs => %(seconds)s) FROM responsa.tenant AS t WHERE t.id = %(tenant_id)s
ON CONFLICT (state_sha256) DO NOTHING
RETURNING 1

-- name: sign_in
UPDATE responsa.user_identity AS i SET subject = %(subject)s, sign_in_time = now()
FROM responsa.app_user AS u
WHERE i.tenant_id = %(tenant_id)s AND i.issuer = %(issuer)s AND i.sub = %(sub)s AND u.tenant_id = i.tenant_id AND u.id = i.user_id
RETURNING u.id, u.tenant_id, u.display_name, u.email, u.role, u.create_time, coalesce(u.update_time, u.create_time) AS update_time, u.disable_time, u.revision

-- name: owner
SELECT user_id FROM responsa.user_identity WHERE tenant_id = %(tenant_id)s AND issuer = %(issuer)s AND sub = %(sub)s

-- name: add
-- A second sign-in of the same person at the same time waits here, and then finds the identity.
INSERT INTO responsa.user_identity (tenant_id, issuer, sub, user_id, subject) VALUES (%(tenant_id)s, %(issuer)s, %(sub)s, %(user_id)s, %(subject)s)
ON CONFLICT (tenant_id, issuer, sub) DO NOTHING
RETURNING 1
