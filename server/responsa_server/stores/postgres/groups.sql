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
DELETE FROM responsa.group_member WHERE tenant_id = %(tenant)s AND group_id = %(id)s AND user_id = ANY (%(users)s::uuid[]) AND issuer = ''
RETURNING user_id;

-- name: add_invited
UPDATE responsa.invitation SET groups = array_append(array_remove(groups, %(id)s), %(id)s)
WHERE tenant_id = %(tenant)s AND id = ANY (%(invitations)s::uuid[]) AND expire_time > now();

-- name: remove_invited
UPDATE responsa.invitation SET groups = array_remove(groups, %(id)s) WHERE tenant_id = %(tenant)s AND id = ANY (%(invitations)s::uuid[]);

-- name: join
-- Groups that were deleted meanwhile are left out.
INSERT INTO responsa.group_member (tenant_id, group_id, user_id)
SELECT g.tenant_id, g.id, %(user)s FROM responsa.user_group AS g WHERE g.tenant_id = %(tenant)s AND g.id = ANY (%(groups)s::uuid[])
FOR KEY SHARE OF g
RETURNING group_id;

-- name: members
SELECT m.user_id AS id, m.user_id, u.display_name, u.email, m.create_time, m.issuers
FROM (
    SELECT g.user_id, min(g.create_time) AS create_time, array_agg(DISTINCT g.issuer) FILTER (WHERE g.issuer <> '') AS issuers
    FROM responsa.group_member AS g WHERE g.tenant_id = %(tenant)s AND g.group_id = %(id)s AND g.expire_time > now() GROUP BY g.user_id
) AS m JOIN responsa.app_user AS u ON u.tenant_id = %(tenant)s AND u.id = m.user_id
WHERE {where} ORDER BY {order} LIMIT %(limit)s;

-- name: drop_unmapped
-- Memberships by groups of providers that are no longer those of the group.
DELETE FROM responsa.group_member AS m USING responsa.user_group AS g
WHERE g.tenant_id = %(tenant)s AND g.id = %(id)s AND m.tenant_id = g.tenant_id AND m.group_id = g.id AND m.issuer <> ''
    AND NOT g.provider_groups @> jsonb_build_array(jsonb_build_object('issuer', m.issuer, 'value', m.value));

-- name: drop_provided
DELETE FROM responsa.group_member WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND issuer = %(issuer)s RETURNING group_id;

-- name: add_provided
-- A group whose provider's groups change meanwhile is looked at again.
INSERT INTO responsa.group_member (tenant_id, group_id, user_id, issuer, value, expire_time)
SELECT g.tenant_id, g.id, %(user)s, %(issuer)s, v.value, now() + make_interval(secs => %(seconds)s)
FROM responsa.user_group AS g JOIN unnest(%(values)s::text[]) AS v (value)
    ON g.provider_groups @> jsonb_build_array(jsonb_build_object('issuer', %(issuer)s::text, 'value', v.value))
WHERE g.tenant_id = %(tenant)s
FOR KEY SHARE OF g
ON CONFLICT DO NOTHING
RETURNING group_id;

-- name: drop_unlinked
-- The memberships by providers at which the user has no identity any more.
DELETE FROM responsa.group_member AS m
WHERE m.tenant_id = %(tenant_id)s AND m.user_id = %(user_id)s AND m.issuer <> '' AND NOT EXISTS (
    SELECT FROM responsa.user_identity AS i WHERE i.tenant_id = m.tenant_id AND i.user_id = m.user_id AND i.issuer = m.issuer);
