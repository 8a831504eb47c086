-- Request ids of creating calls (AIP-155) of one tenant (role responsa_app, tenant set).

-- name: claim
-- Waits for any transaction that is using the same id. After that, either that transaction's row exists, or this call has the id.
INSERT INTO responsa.creation_request (tenant_id, user_id, request_id, kind, body, body_hash)
VALUES (%(tenant)s, %(user)s, %(request)s, %(kind)s, %(body)s, %(hash)s)
ON CONFLICT (tenant_id, user_id, request_id) DO NOTHING
RETURNING true;

-- name: find
SELECT kind, body, body_hash, resource_name FROM responsa.creation_request
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND request_id = %(request)s;

-- name: record
UPDATE responsa.creation_request SET resource_name = %(resource)s
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND request_id = %(request)s;

-- name: forget
-- Every new id deletes a few of the oldest ids, so that the table does not grow for ever.
DELETE FROM responsa.creation_request AS r
USING (
    SELECT tenant_id, user_id, request_id FROM responsa.creation_request
    WHERE tenant_id = %(tenant)s AND create_time < now() - interval '30 days'
    ORDER BY create_time LIMIT 8 FOR UPDATE SKIP LOCKED
) AS old
WHERE r.tenant_id = old.tenant_id AND r.user_id = old.user_id AND r.request_id = old.request_id;
