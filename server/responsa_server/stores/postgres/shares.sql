-- Shared answers of one tenant (role responsa_app, tenant set).

-- name: drop_expired
DELETE FROM responsa.share WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND expire_time <= now();

-- name: share
-- Only an answer of the caller. A turn that is shared already keeps its share.
INSERT INTO responsa.share (id, tenant_id, turn_id, user_id, expire_time)
SELECT %(id)s, t.tenant_id, t.id, t.user_id, %(expire)s FROM responsa.turn AS t
WHERE t.tenant_id = %(tenant)s AND t.user_id = %(user)s AND t.id = %(turn)s AND t.state = 'answered'
    AND NOT EXISTS (SELECT FROM responsa.withheld_turns(ARRAY[t.id]))
ON CONFLICT (turn_id) DO UPDATE SET expire_time = excluded.expire_time
RETURNING id;

-- name: own_turn
SELECT id FROM responsa.turn WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(turn)s;

-- name: get
-- What the transaction's caller may not read of what the turn has read and of what its answer names.
SELECT s.id, s.turn_id, s.user_id, p.display_name AS sharer, s.create_time, s.expire_time, t.create_time AS ask_time, t.request, t.terminal,
    responsa.unreadable_documents(t.read_documents || responsa.documents_named(t.terminal)) AS unreadable
FROM responsa.share AS s JOIN responsa.turn AS t ON t.id = s.turn_id
    JOIN responsa.app_user AS p ON p.tenant_id = s.tenant_id AND p.id = s.user_id
WHERE s.tenant_id = %(tenant)s AND s.id = %(id)s AND s.expire_time > now() AND t.state = 'answered';

-- name: withheld_from_sharer (log)
SELECT id FROM responsa.withheld_from_users(ARRAY[%(turn)s::uuid]) AS w (id);

-- name: list
SELECT s.id, s.turn_id, s.user_id, p.display_name AS sharer, s.create_time, s.expire_time, t.create_time AS ask_time, t.request
FROM responsa.share AS s JOIN responsa.turn AS t ON t.id = s.turn_id
    JOIN responsa.app_user AS p ON p.tenant_id = s.tenant_id AND p.id = s.user_id
WHERE s.tenant_id = %(tenant)s AND s.user_id = %(user)s AND s.expire_time > now() AND t.state = 'answered' AND {where}
ORDER BY {order} LIMIT %(limit)s;

-- name: revoke
DELETE FROM responsa.share WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(id)s AND expire_time > now() RETURNING turn_id;
