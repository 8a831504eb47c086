-- Questions that become turns, as responsa_app with the tenant set. Locks are always taken in the same order: first the conversation's row,
-- then the turns. Every statement that ends a turn, or queues a turn behind another, locks the conversation.

-- name: accept_turn
-- This is one statement, so that it writes all rows or none. If the question is not accepted because another call was faster, no
-- new conversation is left behind. The statement's plan is cached. `IS TRUE` keeps PostgreSQL from choosing a plan that scans all
-- conversations of a user. The lease begins at clock_timestamp(), because the transaction may have waited for locks since it
-- began. may_use is false if the turn needs a reservation in case its user has a quota. Then the statement accepts
-- nothing for a user with an exception; the call tries again in a transaction that also reserves.
WITH place AS (
    SELECT id FROM responsa.conversation
    WHERE tenant_id = %(tenant)s::text AND (user_id = %(user)s::uuid) IS TRUE AND id = %(conversation)s::uuid AND NOT %(create)s::bool
    FOR KEY SHARE
), accepted AS (
    INSERT INTO responsa.turn (id, tenant_id, user_id, role, widget, conversation_id, request_id, request,
        request_sha256, agent_version, state, owner, lease_until,
        begin_time, last_seq, watched, reserved_tokens, reserved_micros, traceparent)
    SELECT %(id)s::uuid, %(tenant)s::text, %(user)s::uuid, %(role)s::text, %(widget)s::bool, target.id,
        %(request_id)s::uuid, %(request)b::bytea, %(request_sha256)b::bytea, %(agent_version)s::text, %(state)s::text,
        %(owner)s::uuid, clock_timestamp() + %(lease)s::interval, CASE WHEN %(owner)s::uuid IS NOT NULL
            THEN clock_timestamp() END, 1, %(watched)s::bool,
        %(reserved_tokens)s::bigint, %(reserved_micros)s::bigint, %(traceparent)s::text
    FROM (SELECT id FROM place UNION ALL SELECT %(conversation)s::uuid WHERE %(create)s) AS target
    WHERE responsa.has_room_for_turn(%(tenant)s::text, %(user)s::uuid, %(most_open)s::bigint, %(most_open_of_tenant)s::bigint)
        AND responsa.has_room_for_conversation(%(tenant)s::text, %(user)s::uuid, %(most_conversations)s::bigint)
        AND (%(state)s::text <> 'pending' OR responsa.pending_turns(%(max_pending)s::int) < %(max_pending)s::int)
        AND NOT EXISTS (SELECT FROM unnest(%(collections)s::text[]) AS named (name) WHERE responsa.readable_collection(named.name) IS NULL)
        AND (%(may_use)s::bool OR NOT EXISTS (SELECT FROM responsa.user_quota AS q WHERE q.tenant_id = %(tenant)s AND q.user_id = %(user)s))
    ON CONFLICT DO NOTHING
    RETURNING id
), created AS (
    INSERT INTO responsa.conversation (id, tenant_id, user_id, title, titled, origin)
    SELECT %(conversation)s::uuid, %(tenant)s::text, %(user)s::uuid,
        CASE WHEN %(title)s::text = '' THEN 'Chat ' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') ELSE %(title)s::text END,
        false, %(origin)s::text
    FROM accepted WHERE %(create)s
), logged AS (
    INSERT INTO responsa.turn_event (turn_id, seq, last_seq, tenant_id, deltas, frame)
    SELECT id, 1, 1, %(tenant)s::text, false, %(frame)b::bytea FROM accepted
), tried AS (
    INSERT INTO responsa.experiment_turn (turn_id, experiment_id, candidate, unit)
    SELECT id, %(experiment)s::uuid, %(candidate)s::bool, %(unit)b::bytea FROM accepted WHERE %(experiment)s::uuid IS NOT NULL
)
SELECT id FROM accepted;

-- name: find_accepted
-- The turn that an earlier attempt at this call, or an earlier call with this request_id, has created.
SELECT id, conversation_id, request, state, epoch, reserved_tokens, reserved_micros, short_of_tokens, short_of_micros FROM responsa.turn
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND (id = %(id)s OR request_id = %(request_id)s)
ORDER BY id = %(id)s DESC LIMIT 1;

-- name: find_request
SELECT id, conversation_id, request, state, epoch, reserved_tokens, reserved_micros, short_of_tokens, short_of_micros FROM responsa.turn
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND request_id = %(request_id)s;

-- name: missing_collection
-- The first of the question's collections that does not exist, or that the caller may not read.
SELECT s.id FROM unnest(%(collections)s::text[]) WITH ORDINALITY AS s (id, place)
WHERE responsa.readable_collection(s.id) IS NULL
ORDER BY s.place LIMIT 1;

-- name: find_place
SELECT id FROM responsa.conversation WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(conversation)s;

-- name: lock_place
-- The lock blocks finishes, cancels and other questions that queue or interrupt, but not a question that only needs the
-- conversation to exist.
SELECT id FROM responsa.conversation WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(conversation)s
FOR NO KEY UPDATE;

-- name: open_turns
-- The turns that conflict with a question: first the running turn, then the turns that wait for it.
SELECT id, state FROM responsa.turn
WHERE tenant_id = %(tenant)s AND conversation_id = %(conversation)s AND state IN ('queued', 'pending', 'running')
ORDER BY state = 'queued', create_time, id;

-- name: open_turns_of
-- The numbers of turns of the user, and of the tenant, that have not ended.
SELECT count(*) FILTER (WHERE user_id = %(user)s) AS of_user, count(*) AS of_tenant FROM responsa.turn
WHERE tenant_id = %(tenant)s AND state IN ('queued', 'pending', 'running');

-- name: room_to_begin_conversation
SELECT responsa.has_room_for_conversation(%(tenant)s, %(user)s, %(most_conversations)s) AS room;

-- name: overloaded
SELECT responsa.pending_turns(%(max_pending)s::int) >= %(max_pending)s::int AS overloaded;

-- Reads of turns, as responsa_app with the tenant set. Statements marked "(log)" run as responsa_log over all tenants.

-- name: backlog
-- Returns at least one row for a turn of the caller. A returned row of the log may begin before after_seq, but ends
-- after it; the search starts
-- at the row with the next event. The events are found by the given id, so that the planner reads only the partition of
-- that id. Only the first
-- returned row contains the terminal event, which the log itself does not have.
SELECT t.last_seq AS position, CASE WHEN t.terminal IS NULL THEN NULL ELSE t.last_seq END AS end_seq, t.watched,
    CASE WHEN coalesce(e.place, 1) = 1 THEN t.terminal END AS terminal,
    CASE WHEN t.state = 'queued' THEN 1 + (
        SELECT count(*) FROM responsa.turn AS q
        WHERE q.tenant_id = %(tenant)s AND q.conversation_id = t.conversation_id AND q.state = 'queued'
            AND (q.create_time, q.id) < (t.create_time, t.id)
    ) ELSE 0 END AS queue_place,
    e.seq, e.last_seq, e.deltas, e.frame
FROM responsa.turn AS t
LEFT JOIN LATERAL (
    SELECT seq, last_seq, deltas, frame, row_number() OVER (ORDER BY seq) AS place FROM responsa.turn_event
    WHERE tenant_id = %(tenant)s AND turn_id = %(turn)s AND last_seq > %(after)s
        AND seq >= coalesce((SELECT max(seq) FROM responsa.turn_event
            WHERE tenant_id = %(tenant)s AND turn_id = %(turn)s AND seq <= %(after)s + 1), 1)
    ORDER BY seq LIMIT %(most)s
) AS e ON true
WHERE t.tenant_id = %(tenant)s AND (t.user_id = %(user)s) IS TRUE AND t.id = %(turn)s
ORDER BY e.seq;

-- name: withheld
-- Those of the turns that have read what the transaction's caller may no longer read. It runs after the turns were
-- read, so that an access that ends in between is noticed.
-- own: look only at the caller's turns, so that the time of a call does not tell whether another user's turn exists.
-- What an administrator's turn will have read is not known before its end, so a caller with the role USER, whose key is
-- narrower, waits for the end.
WITH asked AS MATERIALIZED (
    SELECT id, role, terminal IS NULL AS is_open FROM responsa.turn
    WHERE tenant_id = responsa.current_tenant() AND id = ANY (%(turns)b::uuid[]) AND (NOT %(own)s OR user_id = responsa.acting_user())
)
SELECT id FROM responsa.withheld_turns(ARRAY(SELECT id FROM asked)) AS w (id)
UNION
SELECT id FROM asked WHERE role <> 'user' AND is_open AND current_setting('responsa.role', true) = 'user';

-- name: withheld_from_users (log)
SELECT id FROM responsa.withheld_from_users(%(turns)b::uuid[]) AS w (id);

-- name: columns
-- The turn's usage includes the usage of workers that lost the turn.
t.id, t.tenant_id, t.user_id, t.conversation_id, t.request_id, t.request, t.agent_version, t.state, t.epoch,
    t.last_seq, t.terminal, t.create_time,
    t.end_time, t.embedding_tokens + s.embedding_tokens AS embedding_tokens, t.input_tokens + s.input_tokens AS input_tokens,
    t.output_tokens + s.output_tokens AS output_tokens, t.cost_micros + s.cost_micros AS cost_micros,
    t.unpriced_tokens + s.unpriced_tokens AS unpriced_tokens

-- name: spent
LATERAL (
    SELECT coalesce(sum(embedding_tokens), 0)::bigint AS embedding_tokens, coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
        coalesce(sum(output_tokens), 0)::bigint AS output_tokens, coalesce(sum(cost_micros), 0)::bigint AS cost_micros,
        coalesce(sum(unpriced_tokens), 0)::bigint AS unpriced_tokens
    FROM responsa.turn_spent WHERE tenant_id = %(tenant)s AND turn_id = t.id
) AS s

-- name: get_turn
SELECT {columns}
FROM responsa.turn AS t, {spent}
WHERE t.tenant_id = %(tenant)s AND (t.user_id = %(user)s OR NOT %(owner_only)s) AND t.id = %(turn)s;

-- name: list_turns
SELECT {columns}
FROM (
    SELECT * FROM responsa.turn
    WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND {where}
    ORDER BY {order} LIMIT %(limit)s
) AS t, {spent}
ORDER BY {order};

-- name: poll (log)
-- Reads the logs of several turns at once, each as in `backlog`. A deleted turn has no row. A turn is orphaned if its
-- worker's lease ended so long ago that no worker seems able to claim it, for example because a full disk keeps all from
-- writing. Workers that are busy may need a while; a released turn, and one of a paused instance, wait for their worker.
SELECT t.id, CASE WHEN t.terminal IS NULL THEN NULL ELSE t.last_seq END AS end_seq, c.after,
    CASE WHEN t.last_seq > c.after AND coalesce(e.place, 1) = 1 THEN t.terminal END AS terminal,
    CASE WHEN t.state = 'queued' THEN 1 + (
        SELECT count(*) FROM responsa.turn AS q
        WHERE q.conversation_id = t.conversation_id AND q.state = 'queued' AND (q.create_time, q.id) < (t.create_time, t.id)
    ) ELSE 0 END AS queue_place,
    coalesce(t.state = 'running' AND t.lease_until < now() - interval '60 s' AND t.lease_until > '-infinity', false)
        AND NOT EXISTS (SELECT FROM responsa.pause) AS orphaned,
    e.seq, e.last_seq, e.deltas, e.frame
FROM unnest(%(turns)b::uuid[], %(after)b::bigint[]) AS c (id, after)
JOIN responsa.turn AS t ON t.id = c.id
LEFT JOIN LATERAL (
    SELECT seq, last_seq, deltas, frame, row_number() OVER (ORDER BY seq) AS place FROM responsa.turn_event
    WHERE t.last_seq > c.after AND turn_id = c.id AND last_seq > c.after
        AND seq >= coalesce((SELECT max(seq) FROM responsa.turn_event WHERE turn_id = c.id AND seq <= c.after + 1), 1)
    ORDER BY seq LIMIT %(most)s
) AS e ON true
ORDER BY t.id, e.seq;

-- name: make_partitions (log)
SELECT responsa.make_turn_event_partitions(make_interval(days => %(days)s));

-- name: detach_partition (log)
SELECT responsa.detach_turn_events(make_interval(days => %(days)s));

-- name: drop_partitions (log)
SELECT responsa.drop_turn_events();

-- name: prune_tools (log)
-- Deletes tool calls of ended turns whose logs are old enough to have been dropped, a limited number at a time.
WITH old AS MATERIALIZED (
    SELECT c.turn_id, c.call_id FROM responsa.turn_tool AS c
    WHERE c.turn_id < responsa.first_uuid7(date_trunc('week',
            least(now() - make_interval(days => %(days)s), date_trunc('week', now(), 'UTC') - interval '7 days'), 'UTC'))
        AND NOT EXISTS (SELECT FROM responsa.turn AS t WHERE t.id = c.turn_id AND t.terminal IS NULL)
    ORDER BY c.turn_id, c.call_id LIMIT %(most)s
)
DELETE FROM responsa.turn_tool AS c USING old WHERE c.turn_id = old.turn_id AND c.call_id = old.call_id;

-- name: prune_ended_checkpoints (log)
-- Deletes checkpoints of turns that have ended or were deleted, a limited number at a time. A finish deletes its turn's
-- checkpoint, so there should be few.
WITH old AS MATERIALIZED (
    SELECT c.turn_id FROM responsa.turn_checkpoint AS c
    WHERE c.update_time < now() - %(hours)s::float8 * interval '1 h'
        AND NOT EXISTS (SELECT FROM responsa.turn AS t WHERE t.id = c.turn_id AND t.terminal IS NULL)
    ORDER BY c.turn_id LIMIT %(most)s
)
DELETE FROM responsa.turn_checkpoint AS c USING old WHERE c.turn_id = old.turn_id;

-- name: prune_open_checkpoints (log)
-- Deletes old checkpoints of turns that no worker runs; a later worker starts these turns from the beginning. The turn is locked,
-- so that no worker can claim it and read the checkpoint that is deleted here. The cost up to the checkpoint is kept under an
-- epoch that no worker uses.
WITH old AS MATERIALIZED (
    SELECT t.id FROM responsa.turn_checkpoint AS c JOIN responsa.turn AS t ON t.id = c.turn_id
    WHERE c.update_time < now() - %(hours)s::float8 * interval '1 h' AND t.terminal IS NULL
        AND (t.state = 'running' AND t.lease_until > now()) IS NOT TRUE
    ORDER BY c.turn_id LIMIT %(most)s
    FOR NO KEY UPDATE OF t SKIP LOCKED
), gone AS (
    DELETE FROM responsa.turn_checkpoint AS c USING old
    WHERE c.turn_id = old.id AND c.update_time < now() - %(hours)s::float8 * interval '1 h'
    RETURNING c.*
), spent AS (
    INSERT INTO responsa.turn_spent (turn_id, epoch, tenant_id, embedding_tokens, input_tokens, output_tokens,
        cost_micros, unpriced_tokens)
    SELECT turn_id, -epoch, tenant_id, embedding_tokens, input_tokens, output_tokens, cost_micros, unpriced_tokens FROM gone
    ON CONFLICT DO NOTHING
), noted AS (
    INSERT INTO responsa.usage_event (tenant_id, user_id, time, kind, agent, turn_id, embedding_tokens, input_tokens,
        output_tokens, cost_micros, unpriced_tokens)
    SELECT t.tenant_id, t.user_id, t.create_time, 'spent', split_part(t.agent_version, '/', 2), t.id,
        g.embedding_tokens, g.input_tokens, g.output_tokens, g.cost_micros,
        g.unpriced_tokens
    FROM gone AS g JOIN responsa.turn AS t ON t.id = g.turn_id
)
SELECT turn_id FROM gone;

-- name: prune_followers (log)
-- Deletes the expired records of followers. Such records remain when processes no longer follow any turns.
DELETE FROM responsa.turn_follower WHERE (turn_id, process) IN (
    SELECT turn_id, process FROM responsa.turn_follower WHERE until < now() - interval '1 min' FOR UPDATE SKIP LOCKED
);
