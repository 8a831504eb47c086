-- Limits of users (role responsa_app, tenant set).

-- name: exceptions
SELECT name, value FROM responsa.user_limit WHERE tenant_id = %(tenant)s AND user_id = %(user)s;

-- name: set_exception
INSERT INTO responsa.user_limit (tenant_id, user_id, name, value) VALUES (%(tenant)s, %(user)s, %(name)s, %(value)s)
ON CONFLICT (tenant_id, user_id, name) DO UPDATE SET value = excluded.value;

-- name: remove_exception
DELETE FROM responsa.user_limit WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND name = %(name)s;

-- name: stored_bytes
SELECT coalesce(sum(v.size_bytes) FILTER (WHERE d.owner_id = %(user)s), 0)::bigint AS of_user, coalesce(sum(v.size_bytes), 0)::bigint AS of_tenant
FROM responsa.document_version AS v JOIN responsa.document AS d ON d.tenant_id = v.tenant_id AND d.id = v.document_id
WHERE v.tenant_id = %(tenant)s;

-- name: messages
-- The accepted messages of the window, and those that were counted without Redis.
SELECT id AS message, extract(epoch FROM clock_timestamp() - create_time)::float8 AS age FROM responsa.turn
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND create_time > clock_timestamp() - %(seconds)s * interval '1 s'
UNION ALL
SELECT message_id, extract(epoch FROM clock_timestamp() - create_time)::float8 FROM responsa.message_count
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND create_time > clock_timestamp() - %(seconds)s * interval '1 s';

-- name: lock_messages
-- Of two calls of one user, the second waits until the first has counted.
SELECT pg_advisory_xact_lock(hashtextextended('responsa.messages ' || %(user)s::text, 0));

-- name: drop_messages
DELETE FROM responsa.message_count
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND create_time <= clock_timestamp() - %(seconds)s * interval '1 s';

-- name: count_message
INSERT INTO responsa.message_count (tenant_id, user_id, message_id) VALUES (%(tenant)s, %(user)s, %(message)s) ON CONFLICT DO NOTHING;

-- name: give_back_message
DELETE FROM responsa.message_count WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND message_id = %(message)s;
