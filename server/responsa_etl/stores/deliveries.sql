-- Deliveries and notices of one tenant (role responsa_app, tenant set).

-- name: ended
SELECT * FROM responsa.operation WHERE tenant_id = %(tenant)s AND id = %(operation)s AND stage = 'done';

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

-- name: forget_notices
-- Those of sources that may not exist any more. Another announcement may hold some of them.
DELETE FROM responsa.notice WHERE id IN (
    SELECT id FROM responsa.notice
        WHERE tenant_id = %(tenant)s AND NOT waits AND send_time < now() - interval '1 day' FOR UPDATE SKIP LOCKED);

-- name: administrators
SELECT id, email FROM responsa.app_user
    WHERE tenant_id = %(tenant)s AND role = 'admin' AND disable_time IS NULL AND email <> '' ORDER BY create_time, id LIMIT %(most)s;

-- name: get
SELECT * FROM responsa.delivery WHERE tenant_id = %(tenant)s AND id = %(id)s AND webhook <> '';

-- name: list
SELECT * FROM responsa.delivery WHERE tenant_id = %(tenant)s AND webhook <> '' AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: attempted
-- The state follows from the stored number of attempts: a call may have set it to 0 during the attempt.
UPDATE responsa.delivery SET attempts = attempts + 1, status = %(status)s, problem = %(problem)s, attempt_time = clock_timestamp(),
    state = CASE WHEN %(problem)s::text = '' THEN 'delivered' WHEN attempts + 1 >= %(most)s THEN 'failed' ELSE 'waiting' END
WHERE tenant_id = %(tenant)s AND id = %(id)s
RETURNING *;

-- name: again
UPDATE responsa.delivery AS d SET state = 'waiting', attempts = 0
FROM (SELECT id, state FROM responsa.delivery WHERE tenant_id = %(tenant)s AND id = %(id)s AND webhook <> '' FOR UPDATE) AS before
WHERE d.tenant_id = %(tenant)s AND d.id = before.id
RETURNING d.*, before.state = 'waiting' AS waited;

-- name: want_notice
-- Returns the notice, and when it may be sent, unless it has a job.
INSERT INTO responsa.notice AS n (id, tenant_id, event, source_id) VALUES (%(id)s, %(tenant)s, %(event)s, %(source)s)
ON CONFLICT (tenant_id, event, source_id) DO UPDATE SET waits = true WHERE NOT n.waits
RETURNING n.id, coalesce(extract(epoch FROM n.send_time - now()) + %(seconds)s, 0)::float8 AS pause;

-- name: lock_notice
SELECT event, source_id, coalesce(extract(epoch FROM send_time - now()) + %(seconds)s, 0)::float8 AS pause FROM responsa.notice
WHERE tenant_id = %(tenant)s AND id = %(id)s AND waits FOR UPDATE;

-- name: gather
-- Takes the events that no notice has reported.
WITH taken AS (
    UPDATE responsa.delivery SET state = 'delivered', attempts = 1, attempt_time = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND webhook = '' AND state = 'waiting' AND event = %(event)s AND source_id = %(source)s
    RETURNING operation_id, create_time
), reasons AS (
    SELECT o.error_reason AS reason, count(*) AS events FROM taken
        JOIN responsa.operation AS o ON o.tenant_id = %(tenant)s AND o.id = taken.operation_id
    WHERE o.error_reason IS NOT NULL GROUP BY 1
)
SELECT count(*)::int AS number, min(create_time) AS since, max(create_time) AS until, (array_agg(operation_id
    ORDER BY create_time DESC, operation_id DESC))[1] AS operation_id,
    (SELECT coalesce(jsonb_object_agg(reason, events), '{}') FROM reasons) AS reasons
FROM taken;

-- name: notice_sent
UPDATE responsa.notice SET waits = false, send_time = now() WHERE tenant_id = %(tenant)s AND id = %(id)s;
