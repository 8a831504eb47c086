-- Users of one tenant (role responsa_app, tenant set).

-- name: columns
id, tenant_id, display_name, email, role, create_time, coalesce(update_time, create_time) AS update_time,
    disable_time, revision, owner, subject, last_sign_in_time

-- name: add
INSERT INTO responsa.app_user (id, tenant_id, display_name, email, role)
VALUES (%(id)s, %(tenant)s, %(display_name)s, %(email)s, %(role)s)
ON CONFLICT (tenant_id, email) WHERE email <> '' DO NOTHING
RETURNING {columns};

-- name: get
SELECT {columns} FROM responsa.app_user
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: with_email
SELECT {columns} FROM responsa.app_user
WHERE tenant_id = %(tenant)s AND email = %(email)s AND email <> '';

-- name: list
SELECT {columns} FROM responsa.app_user
WHERE tenant_id = %(tenant)s AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: lock_administrators
-- Every change that takes an administrator away locks all administrators first, so that of two such changes the second
-- sees the first. A row that the first has
-- changed is checked again and left out.
SELECT id, owner FROM responsa.app_user
WHERE tenant_id = %(tenant)s AND role = 'admin' AND disable_time IS NULL
ORDER BY id FOR NO KEY UPDATE;

-- name: is_home
SELECT home FROM responsa.tenant WHERE id = %(tenant)s;

-- name: lock
SELECT {columns} FROM responsa.app_user
WHERE tenant_id = %(tenant)s AND id = %(id)s FOR NO KEY UPDATE;

-- name: owns
SELECT owner FROM responsa.app_user WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: update
UPDATE responsa.app_user SET display_name = %(display_name)s, email = %(email)s, role = %(role)s, owner = %(owner)s, subject = %(subject)s,
    disable_time = CASE WHEN %(disabled)s THEN coalesce(disable_time, clock_timestamp()) END,
    revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s
RETURNING {columns};
