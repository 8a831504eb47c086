-- The audit log of one tenant (role responsa_app, tenant set).

-- name: add
INSERT INTO responsa.audit_event (id, tenant_id, actor, action, resource_name, outcome, address, call_id, on_behalf_of, affected_user,
    added_readers, removed_readers)
VALUES (uuidv7(), %(tenant_id)s, %(actor)s, %(action)s, %(resource_name)s, %(outcome)s, %(address)s, %(call_id)s,
    %(on_behalf_of)s, %(affected_user)s,
    %(added_readers)s, %(removed_readers)s);

-- name: collection
-- For the role of the transaction's caller.
SELECT c.owner_id, CASE c.slug WHEN c.id THEN responsa.other_name(c.tenant_id, c.id) ELSE c.id END AS shared_id
FROM responsa.collection AS c WHERE c.tenant_id = %(tenant)s AND c.id = (SELECT responsa.named_collection(%(name)s));

-- name: owner
-- The user to whom a resource belongs. The kind is a constant, so only one of these tables is read.
SELECT user_id AS owner_id FROM responsa.api_key WHERE %(kind)s = 'apiKeys' AND tenant_id = %(tenant)s AND id = %(id)s
UNION ALL SELECT owner_id FROM responsa.document WHERE %(kind)s = 'documents' AND tenant_id = %(tenant)s AND id = %(id)s
UNION ALL SELECT maker_id FROM responsa.invitation WHERE %(kind)s = 'invitations' AND tenant_id = %(tenant)s AND id = %(id)s
UNION ALL SELECT user_id FROM responsa.operation WHERE %(kind)s = 'operations' AND tenant_id = %(tenant)s AND id = %(id)s
UNION ALL SELECT coalesce(user_id, service_id) FROM responsa.service_grant
    WHERE %(kind)s = 'serviceGrants' AND tenant_id = %(tenant)s AND id = %(id)s
UNION ALL SELECT user_id FROM responsa.session WHERE %(kind)s = 'sessions' AND tenant_id = %(tenant)s AND id = %(id)s
UNION ALL SELECT user_id FROM responsa.turn WHERE %(kind)s = 'turns' AND tenant_id = %(tenant)s AND id = %(id)s;

-- name: list
SELECT id, create_time, actor, action, resource_name AS resource, outcome, address, call_id, on_behalf_of,
    affected_user AS affected_user_id, added_readers, removed_readers
FROM responsa.audit_event
WHERE tenant_id = %(tenant)s AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: prune (log)
SELECT responsa.prune_audit_events(%(days)s * interval '1 day', %(most)s);
