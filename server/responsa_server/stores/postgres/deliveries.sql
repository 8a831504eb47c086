-- Deliveries of one tenant (role responsa_app, tenant set).

-- name: ended
-- A run that has ended.
SELECT * FROM responsa.operation WHERE tenant_id = %(tenant)s AND id = %(operation)s AND kind = 'sync' AND stage = 'done';

-- name: insert
INSERT INTO responsa.delivery (id, tenant_id, webhook, operation_id, source_id, event, body)
VALUES (%(id)s, %(tenant)s, %(webhook)s, %(operation)s, %(source)s, %(event)s, %(body)s)
ON CONFLICT (tenant_id, operation_id, webhook) DO NOTHING
RETURNING id;

-- name: forget
-- Every new delivery deletes a few old ones, so that the table does not grow for ever.
DELETE FROM responsa.delivery AS d
USING (
    SELECT id FROM responsa.delivery WHERE tenant_id = %(tenant)s AND state <> 'waiting' AND create_time < now() - interval '30 days'
    ORDER BY create_time LIMIT 8 FOR UPDATE SKIP LOCKED
) AS old
WHERE d.tenant_id = %(tenant)s AND d.id = old.id;

-- name: administrators
SELECT id, email FROM responsa.app_user WHERE tenant_id = %(tenant)s AND role = 'admin' AND disable_time IS NULL AND email <> '' ORDER BY create_time, id LIMIT %(most)s;

-- name: get
SELECT * FROM responsa.delivery WHERE tenant_id = %(tenant)s AND id = %(id)s AND webhook <> '';

-- name: list
SELECT * FROM responsa.delivery WHERE tenant_id = %(tenant)s AND webhook <> '' AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: attempted
UPDATE responsa.delivery SET state = %(state)s, attempts = attempts + 1, status = %(status)s, problem = %(problem)s, attempt_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: again
-- A delivery that still waits gets a second job. Both make attempts, which count together, until one of them ends the delivery.
UPDATE responsa.delivery SET state = 'waiting', attempts = 0 WHERE tenant_id = %(tenant)s AND id = %(id)s AND webhook <> ''
RETURNING *;
