-- The pause of a restored instance (role responsa_log, over all tenants). Without a pause, the table is empty.

-- name: hold
-- Ends the restore: holds all open turns, and releases those that a worker of the original instance ran, so that no
-- other worker counts as lost.
WITH released AS (
    UPDATE responsa.turn SET lease_until = '-infinity' WHERE state IN ('pending', 'running') AND state = 'running'
)
UPDATE responsa.pause
    SET turns = ARRAY(SELECT id FROM responsa.turn WHERE state IN ('queued', 'pending', 'running') ORDER BY create_time DESC, id DESC);

-- name: state
SELECT p.begin_time, p.turns IS NULL AS restoring,
    (SELECT count(*) FROM responsa.turn WHERE id = ANY (p.turns) AND terminal IS NULL) AS turns,
    (SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE status IN ('todo', 'doing')) AS jobs
FROM responsa.pause AS p;

-- name: held
-- The latest question of a conversation comes first: whoever ends them in this order moves none up in its conversation.
SELECT t.id, t.tenant_id, t.user_id FROM responsa.turn AS t
WHERE t.id = ANY (SELECT unnest(turns) FROM responsa.pause) AND t.terminal IS NULL
ORDER BY t.create_time DESC, t.id DESC;

-- name: resume_turns
-- The time limit of a turn does not count the pause.
UPDATE responsa.turn SET begin_time = NULL WHERE id = ANY (SELECT unnest(turns) FROM responsa.pause) AND terminal IS NULL;

-- name: lift
DELETE FROM responsa.pause;
