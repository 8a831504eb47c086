-- The audit log of one tenant (role responsa_app, tenant set).

-- name: add
INSERT INTO responsa.audit_event (id, tenant_id, actor, action, resource_name)
VALUES (%(id)s, %(tenant_id)s, %(actor)s, %(action)s, %(resource_name)s)
