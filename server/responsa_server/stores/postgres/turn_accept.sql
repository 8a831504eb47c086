-- Questions that become turns, as responsa_app with the tenant set.
-- Locks are taken in one order, first the conversation's row, then turns: whoever ends a turn, or queues behind one, holds its conversation.

-- name: accept_turn
-- One statement, so that a question that loses to an equal or a faster one leaves nothing, the new conversation included. Its plan is kept: `IS TRUE` keeps it
-- from going by all conversations of a user. The lease counts from the moment of writing: the transaction may have waited for locks since it began.
WITH place AS (
    SELECT id FROM responsa.conversation
    WHERE tenant_id = %(tenant)s AND (user_id = %(user)s) IS TRUE AND id = %(conversation)s AND NOT %(create)s
    FOR KEY SHARE
), accepted AS (
    INSERT INTO responsa.turn (id, tenant_id, user_id, role, conversation_id, request_id, request, request_sha256, agent_version, state, owner, lease_until,
        begin_time, last_seq, watched)
    SELECT %(id)s, %(tenant)s, %(user)s, %(role)s, target.id, %(request_id)s::uuid, %(request)b, %(request_sha256)b, %(agent_version)s, %(state)s::text,
        %(owner)s::uuid, clock_timestamp() + %(lease)s::interval, CASE WHEN %(owner)s::uuid IS NOT NULL THEN clock_timestamp() END, 1, %(watched)s
    FROM (SELECT id FROM place UNION ALL SELECT %(conversation)s WHERE %(create)s) AS target
    WHERE (%(state)s::text <> 'pending' OR responsa.pending_turns(%(max_pending)s::int) < %(max_pending)s::int)
        AND cardinality(%(collections)s::text[])
            = (SELECT count(*) FROM responsa.collection AS k WHERE k.tenant_id = %(tenant)s AND k.id = ANY (%(collections)s::text[]))
    ON CONFLICT DO NOTHING
    RETURNING id
), created AS (
    INSERT INTO responsa.conversation (id, tenant_id, user_id, title, titled)
    SELECT %(conversation)s, %(tenant)s, %(user)s, 'Chat ' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), false
    FROM accepted WHERE %(create)s
), logged AS (
    INSERT INTO responsa.turn_event (turn_id, seq, last_seq, tenant_id, deltas, frame)
    SELECT id, 1, 1, %(tenant)s, false, %(frame)b FROM accepted
)
SELECT id FROM accepted;

-- name: find_accepted
-- The turn that this call (it may be a repetition) or this request_id has made.
SELECT id, conversation_id, request, state, epoch FROM responsa.turn
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND (id = %(id)s OR request_id = %(request_id)s)
ORDER BY id = %(id)s DESC LIMIT 1;

-- name: find_request
SELECT id, conversation_id, request, state, epoch FROM responsa.turn
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND request_id = %(request_id)s;

-- name: missing_collection
-- The first that the question names and that is not there.
SELECT s.id FROM unnest(%(collections)s::text[]) WITH ORDINALITY AS s (id, place)
WHERE NOT EXISTS (SELECT FROM responsa.collection AS k WHERE k.tenant_id = %(tenant)s AND k.id = s.id)
ORDER BY s.place LIMIT 1;

-- name: find_place
SELECT id FROM responsa.conversation WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(conversation)s;

-- name: lock_place
-- Held against finishes, cancels and other questions that queue or interrupt; not against one that only needs the conversation to be there.
SELECT id FROM responsa.conversation WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(conversation)s
FOR NO KEY UPDATE;

-- name: open_turns
-- What stands in the way of a question; the turn at work first, then those that wait for it.
SELECT id, state FROM responsa.turn
WHERE tenant_id = %(tenant)s AND conversation_id = %(conversation)s AND state IN ('queued', 'pending', 'running')
ORDER BY state = 'queued', create_time, id;

-- name: overloaded
SELECT responsa.pending_turns(%(max_pending)s::int) >= %(max_pending)s::int AS overloaded;
