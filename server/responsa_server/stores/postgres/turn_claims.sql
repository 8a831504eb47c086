-- How workers come by turns and give them up, as responsa_log over all tenants.

-- name: promote_orphans (log)
-- Whoever ends a turn promotes the next one; this is for what fell through. Another question may take the place meanwhile (unique_violation): then it ends, and
-- promotes in its turn.
UPDATE responsa.turn SET state = 'pending'
WHERE id IN (
    SELECT DISTINCT ON (q.conversation_id) q.id FROM responsa.turn AS q
    WHERE q.state = 'queued'
        AND NOT EXISTS (SELECT FROM responsa.turn AS a WHERE a.conversation_id = q.conversation_id AND a.state IN ('pending', 'running'))
    ORDER BY q.conversation_id, q.create_time, q.id)
    AND state || '' = 'queued';

-- name: claim_turns (log)
-- Ordered by a time that no index is led by: ordered by id the planner might walk all turns there ever were to find the few at work.
-- A worker takes nothing from itself: what it still runs (here) it renews as soon as it reaches the database again.
WITH free AS MATERIALIZED (
    SELECT id, state, lease_until FROM responsa.turn
    WHERE state IN ('pending', 'running') AND (state = 'pending' OR lease_until < now()) AND agent_version = ANY (%(versions)s::text[])
        AND (owner = %(owner)s::uuid AND id = ANY (%(here)s::uuid[])) IS NOT TRUE
    ORDER BY create_time, id LIMIT %(most)s
    FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE responsa.turn AS t SET state = 'running', owner = %(owner)s::uuid, epoch = t.epoch + 1, lease_until = now() + %(lease)s::interval,
        begin_time = coalesce(t.begin_time, now()),
        attempt = t.attempt + CASE WHEN free.state = 'running' THEN 1 ELSE 0 END,
        losses = t.losses + CASE WHEN free.state = 'running' AND free.lease_until > '-infinity' THEN 1 ELSE 0 END
    FROM free WHERE t.id = free.id
    RETURNING t.*
)
SELECT id, tenant_id, user_id, role, conversation_id, request, agent_version, epoch, last_seq, attempt, losses,
    extract(epoch FROM now() - begin_time)::float8 AS age_seconds,
    NOT EXISTS (SELECT FROM responsa.turn AS e WHERE e.tenant_id = c.tenant_id AND e.conversation_id = c.conversation_id AND e.state IN ('answered', 'refused'))
        AS first_in_conversation
FROM claimed AS c ORDER BY create_time, id;

-- name: claim_again (log)
-- Of a claim whose commit nobody heard of: what it did take, unless it was taken on.
UPDATE responsa.turn AS t SET lease_until = now() + %(lease)s::interval
FROM unnest(%(turns)s::uuid[], %(epochs)s::bigint[]) AS c (id, epoch)
WHERE t.id = c.id AND t.epoch = c.epoch AND t.owner = %(owner)s::uuid AND t.state || '' = 'running'
RETURNING t.id;

-- name: checkpoints (log)
-- A statement of its own after the claim, as is `tools`: both must show what the last worker committed until the claim took the row from it.
SELECT turn_id, last_seq, text_bytes, embedding_tokens, input_tokens, output_tokens, cost_micros, unpriced_tokens, state FROM responsa.turn_checkpoint
WHERE turn_id = ANY (%(turns)s::uuid[]);

-- name: tools (log)
SELECT turn_id, call_id, outcome, content FROM responsa.turn_tool WHERE turn_id = ANY (%(turns)s::uuid[]);

-- name: release_turns (log)
-- A lease that ended before all time: whoever takes such a turn over counts no loss. In the order of ids, as all that wait for several turns.
WITH held AS MATERIALIZED (
    SELECT t.id FROM unnest(%(turns)s::uuid[], %(epochs)s::bigint[]) AS c (id, epoch) JOIN responsa.turn AS t ON t.id = c.id
    WHERE t.epoch = c.epoch AND t.state || '' = 'running'
    ORDER BY t.id FOR NO KEY UPDATE OF t
)
UPDATE responsa.turn AS t SET lease_until = '-infinity' FROM held WHERE t.id = held.id;

-- name: follow_turns (log)
-- What this process follows, of the watched ones; what it follows no more, and what nobody renewed, goes.
WITH gone AS (
    DELETE FROM responsa.turn_follower
    WHERE (turn_id, process) IN (
        SELECT turn_id, process FROM responsa.turn_follower
        WHERE (process = %(process)s AND turn_id <> ALL (%(turns)s::uuid[])) OR until < now() - interval '1 min'
        FOR UPDATE SKIP LOCKED)
        AND NOT (process = %(process)s AND turn_id = ANY (%(turns)s::uuid[]))
)
INSERT INTO responsa.turn_follower (turn_id, process, tenant_id, until)
SELECT id, %(process)s, tenant_id, now() + %(seconds)s::float8 * interval '1 s' FROM responsa.turn
WHERE id = ANY (%(turns)s::uuid[]) AND watched AND terminal IS NULL
ORDER BY id
ON CONFLICT (turn_id, process) DO UPDATE SET until = excluded.until;
