-- The beginning of sessions (role responsa_app, tenant set).

-- name: admit
-- The locks order a sign-in and a change of the password or the user: the change sees, and ends, the session of a
-- sign-in that was first, and refuses one that comes after it.
SELECT 1 FROM responsa.app_user AS u
WHERE u.tenant_id = %(tenant_id)s AND u.id = %(user_id)s AND u.disable_time IS NULL AND u.role <> 'service'
    AND EXISTS (SELECT FROM responsa.tenant AS t WHERE t.id = u.tenant_id AND t.suspend_time IS NULL)
FOR NO KEY UPDATE OF u

-- name: same_password
SELECT 1 FROM responsa.user_password WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND update_time = %(password_time)s FOR SHARE

-- name: drop_ended
DELETE FROM responsa.session WHERE tenant_id = %(tenant_id)s AND expire_time <= now()

-- name: add
INSERT INTO responsa.session (id, kind, token_sha256, tenant_id, user_id, api_key_id, address, user_agent, client_id,
    client_name, redirect_uri, code_challenge,
    scopes, resource, program_id, sign_in_time, expire_time)
VALUES (coalesce(%(id)s::uuid, uuidv7()), %(kind)s, %(token)s, %(tenant_id)s, %(user_id)s, %(key_id)s, %(address)s, %(user_agent)s,
    %(client_id)s, %(client_name)s, %(redirect_uri)s, %(code_challenge)s, %(scopes)s::text[], %(resource)s, %(program_id)s::uuid,
    coalesce(%(sign_in_time)s::timestamptz, now()), least(now() + make_interval(secs => %(seconds)s),
    (SELECT k.expire_time FROM responsa.api_key AS k WHERE k.tenant_id = %(tenant_id)s AND k.id = %(key_id)s)))
RETURNING id, create_time, expire_time

-- name: note_sign_in
WITH noted AS (
    INSERT INTO responsa.usage_event (tenant_id, user_id, time, kind) VALUES (%(tenant_id)s, %(user_id)s, now(), 'sign_in')
)
UPDATE responsa.app_user SET last_sign_in_time = greatest(last_sign_in_time, coalesce(%(sign_in_time)s::timestamptz, now()))
WHERE tenant_id = %(tenant_id)s AND id = %(user_id)s

-- name: drop_surplus
DELETE FROM responsa.session WHERE tenant_id = %(tenant_id)s AND id IN (
    SELECT id FROM responsa.session WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND id <> %(id)s
    ORDER BY last_use_time DESC, id DESC OFFSET %(others)s
)
RETURNING id
