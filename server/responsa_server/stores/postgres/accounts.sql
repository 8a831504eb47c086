-- name: session_columns
s.id, s.user_id, s.create_time, s.last_use_time, s.expire_time, s.address, s.user_agent, s.client_id,
    s.client_name, s.redirect_uri, s.scopes, s.resource, s.program_id

-- name: user_with_password
u.id, u.tenant_id, u.display_name, u.email, u.role, u.create_time,
    coalesce(u.update_time, u.create_time) AS update_time, u.disable_time, u.revision, u.owner, u.subject,
    u.last_sign_in_time, p.hash, p.update_time AS password_time

-- name: count_attempt
INSERT INTO responsa.sign_in_attempt AS a (subject, failures, end_time)
VALUES (%(subject)s, 1, now() + make_interval(secs => %(window)s))
ON CONFLICT (subject) DO UPDATE SET
    failures = CASE WHEN a.end_time <= now() THEN 1 ELSE least(a.failures, %(limit)s) + 1 END,
    end_time = CASE WHEN a.end_time <= now() THEN excluded.end_time ELSE a.end_time END
RETURNING failures > %(limit)s AS exceeded, extract(epoch FROM end_time - now())::float8 AS seconds

-- name: ask_for_redirects
SELECT responsa.ask_for_redirects(%(name)s, %(uris)s, %(network)s)

-- name: allowed_redirects
SELECT coalesce(array_agg(uri), '{}') FROM responsa.allowed_redirects(%(uris)s) AS uri

-- name: find_tenant
SELECT 1 FROM responsa.tenant WHERE id = %(tenant_id)s

-- name: drop_old_attempts
DELETE FROM responsa.sign_in_attempt WHERE subject IN (
    SELECT subject FROM responsa.sign_in_attempt WHERE end_time < now() - interval '1 minute' ORDER BY end_time
        LIMIT 16 FOR UPDATE SKIP LOCKED
)

-- name: clear_attempts
DELETE FROM responsa.sign_in_attempt WHERE subject = %(subject)s

-- name: uncount_attempt
UPDATE responsa.sign_in_attempt SET failures = greatest(failures - 1, 0) WHERE subject = %(subject)s

-- name: find_account
SELECT {user_with_password}
FROM responsa.app_user AS u LEFT JOIN responsa.user_password AS p ON p.tenant_id = u.tenant_id AND p.user_id = u.id
WHERE u.tenant_id = %(tenant_id)s AND u.email = %(email)s AND u.email <> '' AND u.role <> 'service' AND u.disable_time IS NULL
    AND EXISTS (SELECT FROM responsa.tenant AS t WHERE t.id = u.tenant_id AND t.suspend_time IS NULL)

-- name: find_account_of
SELECT {user_with_password}
FROM responsa.app_user AS u LEFT JOIN responsa.user_password AS p ON p.tenant_id = u.tenant_id AND p.user_id = u.id
WHERE u.tenant_id = %(tenant_id)s AND u.id = %(user_id)s AND u.role <> 'service'

-- name: upgrade_hash
UPDATE responsa.user_password SET hash = %(new)s WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND hash = %(old)s

-- name: add_refresh_token
INSERT INTO responsa.refresh_token (token_sha256, tenant_id, session_id) VALUES (%(token)s, %(tenant_id)s, %(session_id)s)

-- name: tenant_of_secret
SELECT responsa.tenant_of_secret(%(digest)s)

-- name: lock_session_of
-- refused: whether the session may not be refreshed. A session of a disabled user stays, for when the user is enabled again.
SELECT s.id, s.user_id, s.expire_time <= now() OR u.disable_time IS NOT NULL AS refused,
    s.client_id, s.client_name, s.redirect_uri, s.code_challenge, s.scopes, s.resource, s.program_id
FROM responsa.session AS s JOIN responsa.app_user AS u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
WHERE s.tenant_id = %(tenant_id)s AND s.id = (
    SELECT session_id FROM responsa.refresh_token WHERE tenant_id = %(tenant_id)s AND token_sha256 = %(token)s
)
FOR UPDATE OF s

-- name: find_refresh_token
SELECT t.use_time, t.request_id, t.successor_sha256, t.kid, t.use_time > clock_timestamp()
    - make_interval(secs => %(repeat)s), n.use_time IS NULL
FROM responsa.refresh_token AS t
LEFT JOIN responsa.refresh_token AS n ON n.tenant_id = t.tenant_id AND n.token_sha256 = t.successor_sha256
WHERE t.tenant_id = %(tenant_id)s AND t.token_sha256 = %(token)s

-- name: use_refresh_token
UPDATE responsa.refresh_token
SET use_time = clock_timestamp(), request_id = %(request_id)s, successor_sha256 = %(successor)s, kid = %(kid)s
WHERE tenant_id = %(tenant_id)s AND token_sha256 = %(token)s
RETURNING use_time

-- name: prolong_session
UPDATE responsa.session SET
    token_sha256 = %(successor)s,
    last_use_time = now(),
    expire_time = least(now() + make_interval(secs => %(seconds)s), create_time + make_interval(secs => %(max_seconds)s))
WHERE tenant_id = %(tenant_id)s AND id = %(session_id)s
RETURNING expire_time

-- name: session_end
SELECT expire_time FROM responsa.session WHERE tenant_id = %(tenant_id)s AND id = %(session_id)s

-- name: delete_session
DELETE FROM responsa.session WHERE tenant_id = %(tenant_id)s AND id = %(session_id)s

-- name: list_sessions
SELECT {session_columns}
FROM responsa.session AS s
WHERE s.tenant_id = %(tenant_id)s AND s.user_id = %(user_id)s AND s.expire_time > now() AND {where}
ORDER BY {order}
LIMIT %(limit)s

-- name: list_tenant_sessions
SELECT {session_columns}
FROM responsa.session AS s
WHERE s.tenant_id = %(tenant_id)s AND s.expire_time > now() AND {where}
ORDER BY {order}
LIMIT %(limit)s

-- name: end_tenant_sessions
DELETE FROM responsa.session
WHERE tenant_id = %(tenant_id)s AND (id = ANY (%(wanted)s::uuid[]) OR user_id = %(user_id)s::uuid)
RETURNING id, user_id

-- name: end_sessions
DELETE FROM responsa.session
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s
    AND (%(wanted)s::uuid[] IS NULL OR id = ANY (%(wanted)s::uuid[])) AND id IS DISTINCT FROM %(kept)s::uuid
RETURNING id

-- name: signed_in_recently
-- A session that an API key began is a sign-in for users who have nothing but keys. For others, whoever has the key has
-- not shown the password. A key with a
-- narrower role never is: it would lead to a password, and so to the user's role.
SELECT 1 FROM responsa.session AS s
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND id = %(session_id)s
    AND sign_in_time > now() - make_interval(secs => %(seconds)s)
    AND (api_key_id IS NULL OR NOT EXISTS (
        SELECT FROM responsa.api_key AS k WHERE k.tenant_id = s.tenant_id AND k.id = s.api_key_id AND k.role IS NOT NULL
        UNION ALL SELECT FROM responsa.user_password AS p WHERE p.tenant_id = s.tenant_id AND p.user_id = s.user_id
        UNION ALL SELECT FROM responsa.user_identity AS i WHERE i.tenant_id = s.tenant_id AND i.user_id = s.user_id))

-- name: lock_user
SELECT id FROM responsa.app_user WHERE tenant_id = %(tenant_id)s AND id = %(user_id)s AND role <> 'service' FOR NO KEY UPDATE

-- name: find_hash
SELECT hash FROM responsa.user_password WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s

-- name: put_password
INSERT INTO responsa.user_password (tenant_id, user_id, hash) VALUES (%(tenant_id)s, %(user_id)s, %(hash)s)
ON CONFLICT (tenant_id, user_id) DO UPDATE SET hash = excluded.hash, update_time = now()

-- name: drop_reset_codes
DELETE FROM responsa.reset_code WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s

-- name: drop_all_reset_codes
DELETE FROM responsa.reset_code WHERE tenant_id = %(tenant_id)s

-- name: drop_expired_invitations
DELETE FROM responsa.invitation WHERE tenant_id = %(tenant_id)s AND expire_time <= now()

-- name: add_invitation
INSERT INTO responsa.invitation (id, tenant_id, maker_id, code_sha256, role, email, expire_time, groups)
VALUES (%(id)s, %(tenant_id)s, %(maker)s, %(code)s, %(role)s, %(email)s, now() + make_interval(secs => %(seconds)s),
    ARRAY(SELECT g.id FROM responsa.user_group AS g WHERE g.tenant_id = %(tenant_id)s AND g.id = ANY (%(groups)s::uuid[])))
RETURNING expire_time, groups

-- name: list_invitations
-- The maker is shown if it is a user of this tenant.
SELECT i.id, i.role, i.email, (SELECT m.id FROM responsa.app_user AS m
    WHERE m.tenant_id = i.tenant_id AND m.id = i.maker_id) AS creator_id, i.create_time, i.expire_time,
    ARRAY(SELECT 'groups/' || g FROM unnest(i.groups) AS g) AS groups
FROM responsa.invitation AS i
WHERE i.tenant_id = %(tenant_id)s AND i.expire_time > now() AND {where}
ORDER BY {order}
LIMIT %(limit)s

-- name: delete_invitation
DELETE FROM responsa.invitation WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND expire_time > now() RETURNING maker_id

-- name: good_invitation
-- An invitation is the word of an administrator or of an owner of the installation, who may be a user of another
-- tenant: it is not good while its maker is neither.
FROM responsa.invitation AS i WHERE tenant_id = %(tenant_id)s AND code_sha256 = %(code)s AND expire_time > now()
    AND (EXISTS (
        SELECT FROM responsa.app_user AS m
            WHERE m.tenant_id = i.tenant_id AND m.id = i.maker_id AND m.role = 'admin' AND m.disable_time IS NULL
    ) OR EXISTS (SELECT FROM responsa.standing_of(i.maker_id) AS m WHERE m.owner AND NOT m.suspended))

-- name: find_invitation
SELECT role, email {good_invitation}

-- name: use_invitation
DELETE {good_invitation} RETURNING id, groups

-- name: add_reset_code
INSERT INTO responsa.reset_code (code_sha256, tenant_id, user_id, expire_time)
VALUES (%(code)s, %(tenant_id)s, %(user_id)s, now() + make_interval(secs => %(seconds)s))
RETURNING expire_time

-- name: find_reset_account
SELECT {user_with_password}
FROM responsa.reset_code AS c
JOIN responsa.app_user AS u ON u.tenant_id = c.tenant_id AND u.id = c.user_id
LEFT JOIN responsa.user_password AS p ON p.tenant_id = u.tenant_id AND p.user_id = u.id
WHERE c.tenant_id = %(tenant_id)s AND c.code_sha256 = %(code)s AND c.expire_time > now() AND u.role <> 'service' AND u.disable_time IS NULL

-- name: use_reset_code
DELETE FROM responsa.reset_code AS c WHERE tenant_id = %(tenant_id)s AND code_sha256 = %(code)s AND expire_time > now()
    AND EXISTS (SELECT FROM responsa.app_user AS u WHERE u.tenant_id = c.tenant_id AND u.id = c.user_id AND u.disable_time IS NULL)
RETURNING user_id

-- name: signing_keys
SELECT kid, sealed_key, create_time FROM responsa.signing_key ORDER BY create_time DESC

-- name: lock_signing_keys
SELECT pg_advisory_xact_lock(hashtextextended('responsa.signing_key', 0))

-- name: add_signing_key
INSERT INTO responsa.signing_key (kid, sealed_key)
SELECT %(kid)s, %(sealed)s
WHERE NOT EXISTS (
    SELECT FROM responsa.signing_key WHERE create_time > clock_timestamp() - make_interval(secs => %(older)s)
)

-- name: drop_replaced_keys
DELETE FROM responsa.signing_key AS k WHERE EXISTS (
    SELECT FROM responsa.signing_key AS n WHERE n.create_time > k.create_time AND n.create_time < now() - interval '1 day'
)
