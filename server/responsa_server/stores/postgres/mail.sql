-- Mails that wait to be sent (role responsa_app, tenant set).

-- name: drop_expired
DELETE FROM responsa.mail WHERE tenant_id = %(tenant_id)s AND expire_time <= now();

-- name: drop_expired_confirmations
DELETE FROM responsa.email_confirmation WHERE tenant_id = %(tenant_id)s AND expire_time <= now();

-- name: add
-- A tenant that does not exist gets no mail, and no error.
INSERT INTO responsa.mail (id, tenant_id, kind, email, user_id, about, events, expire_time)
SELECT %(id)s, t.id, %(kind)s, %(email)s, %(user_id)s, %(about)s, %(events)s, now() + make_interval(secs => %(seconds)s)
FROM responsa.tenant AS t WHERE t.id = %(tenant_id)s;

-- name: add_registration
INSERT INTO responsa.email_confirmation (
    id, tenant_id, code_sha256, email, new_user_id, display_name, role, password_hash, invitation_sha256, expire_time)
SELECT %(id)s, t.id, %(code)s, %(email)s, %(new_user)s, %(display_name)s, %(role)s, %(hash)s, %(invitation)s,
    now() + make_interval(secs => %(seconds)s)
FROM responsa.tenant AS t WHERE t.id = %(tenant_id)s;

-- name: replace_change
WITH earlier AS (
    DELETE FROM responsa.email_confirmation WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s
)
INSERT INTO responsa.email_confirmation (id, tenant_id, code_sha256, email, user_id, expire_time)
VALUES (%(id)s, %(tenant_id)s, %(code)s, %(email)s, %(user_id)s, now() + make_interval(secs => %(seconds)s));

-- name: drop_changes
DELETE FROM responsa.email_confirmation WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s;

-- name: find_confirmation
SELECT CASE WHEN c.user_id IS NULL THEN c.email ELSE u.email END AS email, CASE WHEN c.user_id IS NULL
    THEN c.password_hash ELSE p.hash END AS hash
FROM responsa.email_confirmation AS c
LEFT JOIN responsa.app_user AS u ON u.tenant_id = c.tenant_id AND u.id = c.user_id
LEFT JOIN responsa.user_password AS p ON p.tenant_id = c.tenant_id AND p.user_id = c.user_id
WHERE c.tenant_id = %(tenant_id)s AND c.code_sha256 = %(code)s AND c.expire_time > now();

-- name: use_confirmation
DELETE FROM responsa.email_confirmation WHERE tenant_id = %(tenant_id)s AND code_sha256 = %(code)s AND expire_time > now()
RETURNING email, user_id, new_user_id, display_name, role, password_hash, invitation_sha256;

-- name: change_email
UPDATE responsa.app_user AS u SET email = %(email)s, revision = u.revision + 1, update_time = clock_timestamp()
FROM (
    SELECT id, email FROM responsa.app_user WHERE tenant_id = %(tenant_id)s AND id = %(user_id)s AND disable_time IS NULL FOR NO KEY UPDATE
) AS before
WHERE u.tenant_id = %(tenant_id)s AND u.id = before.id
RETURNING before.email;

-- name: email_of
SELECT email FROM responsa.app_user WHERE tenant_id = %(tenant_id)s AND id = %(user_id)s;

-- name: find
SELECT id, tenant_id, kind, email, about, events FROM responsa.mail WHERE tenant_id = %(tenant_id)s AND id = %(id)s;

-- name: taken
SELECT 1 FROM responsa.app_user WHERE tenant_id = %(tenant_id)s AND email = %(email)s AND email <> '';

-- name: add_reset_code
-- Earlier codes stay valid until one of them is used: otherwise a stranger could make them useless.
WITH account AS (
    SELECT id FROM responsa.app_user
    WHERE tenant_id = %(tenant_id)s AND email = %(email)s AND email <> '' AND role <> 'service' AND disable_time IS NULL
    FOR KEY SHARE
), added AS (
    INSERT INTO responsa.reset_code (code_sha256, tenant_id, user_id, expire_time)
    SELECT %(code)s, %(tenant_id)s, id, now() + make_interval(secs => %(seconds)s) FROM account
    ON CONFLICT (code_sha256) DO NOTHING
)
SELECT id FROM account;

-- name: drop_expired_codes
DELETE FROM responsa.reset_code WHERE tenant_id = %(tenant_id)s AND expire_time <= now();

-- name: drop
DELETE FROM responsa.mail WHERE tenant_id = %(tenant_id)s AND id = %(id)s;
