-- Limits of users (role responsa_app, tenant set).

-- name: exceptions
SELECT name, value FROM responsa.user_limit WHERE tenant_id = %(tenant)s AND user_id = %(user)s;

-- name: set_exception
INSERT INTO responsa.user_limit (tenant_id, user_id, name, value) VALUES (%(tenant)s, %(user)s, %(name)s, %(value)s)
ON CONFLICT (tenant_id, user_id, name) DO UPDATE SET value = excluded.value;

-- name: remove_exception
DELETE FROM responsa.user_limit WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND name = %(name)s;

-- name: stored_bytes
-- What a user keeps: the originals and canonical texts of all versions of the user's documents (some versions use the
-- original as their canonical text), and of all
-- conversations the turns that have ended, the titles and the labels, as they are stored. No large value is read.
SELECT (
    (SELECT coalesce(sum(v.size_bytes + CASE WHEN v.canonical IS NULL THEN 0 ELSE coalesce(v.canonical_bytes, 0) END), 0)
        FROM responsa.document AS d JOIN responsa.document_version AS v ON v.tenant_id = d.tenant_id AND v.document_id = d.id
        WHERE d.tenant_id = %(tenant)s AND d.owner_id = %(user)s)
    + (SELECT coalesce(sum(turn_bytes + octet_length(title) + pg_column_size(labels)), 0) FROM responsa.conversation
        WHERE tenant_id = %(tenant)s AND user_id = %(user)s)
)::bigint AS bytes;

-- name: stored_bytes_of_tenant
-- The same for the documents of all users of the tenant.
SELECT coalesce(sum(size_bytes + CASE WHEN canonical IS NULL THEN 0
    ELSE coalesce(canonical_bytes, 0) END), 0)::bigint AS bytes FROM responsa.document_version
WHERE tenant_id = %(tenant)s;

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
