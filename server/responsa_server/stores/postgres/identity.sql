-- name: find_key
SELECT f.id, f.tenant_id, f.user_id, f.role, f.expired, f.revoked, f.disabled, s.owner, s.suspended, s.role, f.widget, f.agent
FROM responsa.find_caller_of_key(%(digest)s) AS f CROSS JOIN LATERAL responsa.standing_of(f.user_id) AS s

-- name: unread_by_widgets
SELECT f.id, f.unread
    FROM (SELECT k.id, responsa.unread_by_widget(k.id) AS unread FROM unnest(%(keys)s::uuid[]) AS k (id)) AS f WHERE f.unread IS NOT NULL

-- name: find_session
SELECT f.id, f.tenant_id, f.user_id, f.role, f.api_key_id, f.expired, f.disabled, s.owner, s.suspended, f.role <> s.role
FROM responsa.find_signed_in(%(digest)s) AS f CROSS JOIN LATERAL responsa.standing_of(f.user_id) AS s

-- name: find_token_session
SELECT f.id, f.tenant_id, f.user_id, f.role, f.api_key_id, f.expired, f.disabled, s.owner, s.suspended, f.role <> s.role
FROM responsa.find_signed_in_as(%(id)s) AS f CROSS JOIN LATERAL responsa.standing_of(f.user_id) AS s

-- name: find_ended
-- ended_credentials reports the users of a suspended tenant as disabled.
SELECT id, disabled, revoked, false FROM responsa.ended_credentials(%(users)s::uuid[], %(keys)s::uuid[], %(sessions)s::uuid[])
UNION ALL
SELECT s.user_id, false, false, true FROM responsa.standing(%(users)s::uuid[]) AS s WHERE s.suspended

-- name: find_changed
SELECT id FROM responsa.changed_callers(%(users)s::uuid[], %(roles)s::text[], %(owners)s::boolean[], %(keys)s::uuid[],
    %(sessions)s::uuid[]) AS changed (id)
UNION ALL
SELECT pair.user_id FROM unnest(%(services)s::uuid[], %(served)s::uuid[]) AS pair (service_id, user_id)
WHERE NOT EXISTS (
    SELECT FROM responsa.granted(%(services)s::uuid[], %(served)s::uuid[]) AS g
    WHERE g.service_id = pair.service_id AND g.user_id = pair.user_id)

-- name: roles
SELECT wanted.id, responsa.role_of(wanted.id) FROM unnest(%(users)s::uuid[]) AS wanted (id)

-- name: granted
SELECT service_id, user_id FROM responsa.granted(%(services)s::uuid[], %(users)s::uuid[])

-- name: use_code
SELECT tenant_id, user_id, api_key_id, expired, sign_in_time FROM responsa.take_sign_in_code(%(digest)s)

-- name: user_columns
id, tenant_id, display_name, email, role, create_time, coalesce(update_time, create_time) AS update_time,
    disable_time, revision, owner, subject, last_sign_in_time

-- name: find_user
SELECT {user_columns} FROM responsa.app_user WHERE tenant_id = %(tenant_id)s AND id = %(user_id)s

-- name: drop_expired_codes
DELETE FROM responsa.session_code WHERE tenant_id = %(tenant_id)s AND expire_time <= now()

-- name: drop_expired_sessions
DELETE FROM responsa.session WHERE tenant_id = %(tenant_id)s AND expire_time <= now()

-- name: add_code
INSERT INTO responsa.session_code (code_sha256, tenant_id, user_id, api_key_id, session_id, expire_time)
SELECT %(digest)s, %(tenant_id)s, %(user_id)s, %(key_id)s, %(session_id)s, now() + make_interval(secs => %(seconds)s)
WHERE %(session_id)s::uuid IS NULL OR EXISTS (SELECT FROM responsa.session
    WHERE tenant_id = %(tenant_id)s AND id = %(session_id)s::uuid FOR KEY SHARE)
RETURNING expire_time

-- name: end_session
DELETE FROM responsa.session WHERE tenant_id = %(tenant_id)s AND token_sha256 = %(digest)s RETURNING id, user_id

-- name: touch_session
-- A locked row is skipped, because the call waits for this statement and the time is only shown.
UPDATE responsa.session SET last_use_time = now()
WHERE tenant_id = %(tenant_id)s AND id = (
    SELECT s.id FROM responsa.session AS s
    WHERE s.tenant_id = %(tenant_id)s AND s.id = %(session_id)s AND s.last_use_time < now() - interval '1 minute'
    FOR NO KEY UPDATE SKIP LOCKED)

-- name: key_columns
id, tenant_id, user_id, display_name, prefix, create_time, expire_time, revoke_time, parent_id, role, widget, agent,
    coalesce(responsa.unread_by_widget(id), 0) AS unread_collections

-- name: add_key
INSERT INTO responsa.api_key (id, tenant_id, user_id, display_name, prefix, secret_sha256, expire_time, parent_id, role, widget, agent)
SELECT %(id)s, %(tenant_id)s, %(user_id)s, %(display_name)s, %(prefix)s, %(digest)s, %(expire_time)s::timestamptz, %(parent_id)s,
    coalesce(%(role)s::text, (SELECT p.role FROM responsa.api_key AS p WHERE p.tenant_id = %(tenant_id)s AND p.id = %(parent_id)s)),
    %(widget)s, %(agent)s
WHERE %(expire_time)s::timestamptz IS NULL OR %(expire_time)s::timestamptz > now()
RETURNING {key_columns}

-- name: lock_keys_of_user
SELECT pg_advisory_xact_lock(hashtextextended('responsa.api_keys ' || %(user_id)s::text, 0))

-- name: count_good_keys
SELECT count(*) AS count FROM responsa.api_key
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND revoke_time IS NULL AND (expire_time IS NULL OR expire_time > now())

-- name: hold_parent
-- A revocation waits until the new key is stored, and then revokes it too.
SELECT expire_time, expire_time <= now(), revoke_time IS NOT NULL FROM responsa.api_key
WHERE tenant_id = %(tenant_id)s AND id = %(parent_id)s
FOR SHARE

-- name: hold_session
-- The end of the session waits until the new key is stored, and can then revoke it.
SELECT 1 FROM responsa.session WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND id = %(session_id)s FOR KEY SHARE

-- name: find_own_key
SELECT {key_columns}
FROM responsa.api_key
WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s AND id = %(id)s

-- name: list_keys
SELECT {key_columns}
FROM responsa.api_key AS k
WHERE k.tenant_id = %(tenant_id)s AND k.user_id = %(user_id)s AND {where}
ORDER BY {order}
LIMIT %(limit)s

-- name: list_tenant_keys
SELECT {key_columns}
FROM responsa.api_key AS k
WHERE k.tenant_id = %(tenant_id)s AND {where}
ORDER BY {order}
LIMIT %(limit)s

-- name: lock_key
SELECT {key_columns}
FROM responsa.api_key
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND (%(owner)s::uuid IS NULL OR user_id = %(owner)s)
FOR NO KEY UPDATE

-- name: revoke_key
UPDATE responsa.api_key SET revoke_time = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
RETURNING {key_columns}

-- name: add_tenant
INSERT INTO responsa.tenant (id, display_name, home)
VALUES (%(tenant_id)s, %(display_name)s, NOT EXISTS (SELECT FROM responsa.all_tenants() AS t WHERE t.home))
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: find_tenant
SELECT 1 FROM responsa.tenant WHERE id = %(tenant_id)s AND suspend_time IS NULL

-- name: add_user
INSERT INTO responsa.app_user (id, tenant_id, display_name, email, role, owner)
VALUES (%(id)s, %(tenant_id)s, %(display_name)s, %(email)s, %(role)s, %(first)s AND %(role)s = 'admin'
    AND EXISTS (SELECT FROM responsa.tenant AS t WHERE t.id = %(tenant_id)s AND t.home)
    AND NOT EXISTS (SELECT FROM responsa.app_user AS o WHERE o.tenant_id = %(tenant_id)s AND o.owner))
ON CONFLICT (tenant_id, email) WHERE email <> '' DO NOTHING
RETURNING {user_columns}

-- name: owner_with_key
-- The active owner without an e-mail address who got the first key with this name.
SELECT u.id FROM responsa.app_user AS u JOIN responsa.api_key AS k ON k.user_id = u.id
WHERE u.tenant_id = %(tenant_id)s AND u.owner AND u.email = '' AND u.disable_time IS NULL AND k.display_name = %(display_name)s
ORDER BY k.create_time LIMIT 1;

-- name: give_ownership
UPDATE responsa.app_user AS u SET owner = true, revision = revision + 1, update_time = clock_timestamp()
WHERE u.tenant_id = %(tenant_id)s AND u.id = %(user_id)s AND u.role = 'admin' AND u.disable_time IS NULL AND NOT u.owner
    AND EXISTS (SELECT FROM responsa.tenant AS t WHERE t.id = %(tenant_id)s AND t.home)
RETURNING {user_columns}
