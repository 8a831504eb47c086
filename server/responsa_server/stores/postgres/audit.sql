-- The audit log of one tenant (role responsa_app, tenant set).

-- name: add
INSERT INTO responsa.audit_event (id, tenant_id, actor, action, resource_name, outcome, address, call_id, on_behalf_of, affected_user)
VALUES (uuidv7(), %(tenant)s, %(actor)s, %(action)s, %(resource)s, %(outcome)s, %(address)s, %(call_id)s, %(on_behalf_of)s, %(affected_user)s);

-- name: list
SELECT id, create_time, actor, action, resource_name, outcome, address, call_id, on_behalf_of, affected_user FROM responsa.audit_event
WHERE tenant_id = %(tenant)s AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: prune (log)
SELECT responsa.prune_audit_events(%(days)s * interval '1 day', %(most)s);
