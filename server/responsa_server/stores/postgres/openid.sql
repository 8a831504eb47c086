-- External identities of one tenant (role responsa_app, tenant set).

-- name: drop_states
DELETE FROM responsa.oidc_state WHERE tenant_id = %(tenant_id)s AND expire_time <= now()

-- name: use_state
INSERT INTO responsa.oidc_state (state_sha256, tenant_id, expire_time)
SELECT %(state)s, t.id, now() + make_interval(secs => %(seconds)s) FROM responsa.tenant AS t
    WHERE t.id = %(tenant_id)s AND t.suspend_time IS NULL
ON CONFLICT (state_sha256) DO NOTHING
RETURNING 1

-- name: sign_in
-- A provider without a claim for it (NULL) leaves the user's subject as it is.
WITH seen AS (
    UPDATE responsa.user_identity SET sign_in_time = now() WHERE tenant_id = %(tenant_id)s AND issuer = %(issuer)s AND sub = %(sub)s
    RETURNING user_id
)
UPDATE responsa.app_user AS u SET subject = coalesce(%(subject)s::text, u.subject)
FROM seen WHERE u.tenant_id = %(tenant_id)s AND u.id = seen.user_id
RETURNING u.id, u.tenant_id, u.display_name, u.email, u.role, u.create_time,
    coalesce(u.update_time, u.create_time) AS update_time, u.disable_time, u.revision, u.owner, u.subject, u.last_sign_in_time

-- name: owner
SELECT user_id FROM responsa.user_identity WHERE tenant_id = %(tenant_id)s AND issuer = %(issuer)s AND sub = %(sub)s

-- name: add
-- A second sign-in of the same person at the same time waits here, and then finds the identity.
INSERT INTO responsa.user_identity (tenant_id, issuer, sub, user_id) VALUES (%(tenant_id)s, %(issuer)s, %(sub)s, %(user_id)s)
ON CONFLICT (tenant_id, issuer, sub) DO NOTHING
RETURNING 1

-- name: set_subject
UPDATE responsa.app_user SET subject = %(subject)s WHERE tenant_id = %(tenant_id)s AND id = %(user_id)s

-- name: identities
SELECT id, issuer, sub, create_time, sign_in_time FROM responsa.user_identity
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s ORDER BY create_time, id

-- name: unlink
DELETE FROM responsa.user_identity WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND id = %(id)s RETURNING id

-- name: can_sign_in
SELECT 1 FROM responsa.app_user AS u WHERE u.tenant_id = %(tenant_id)s AND u.id = %(user_id)s AND (
    u.email <> '' AND EXISTS (SELECT FROM responsa.user_password AS p WHERE p.tenant_id = u.tenant_id AND p.user_id = u.id)
    OR EXISTS (SELECT FROM responsa.user_identity AS i WHERE i.tenant_id = u.tenant_id AND i.user_id = u.id
        AND i.issuer = ANY (%(issuers)s::text[])))
