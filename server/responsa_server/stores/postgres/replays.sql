-- Replays of one tenant (role responsa_app, tenant set). For `stage || ''`, see operations.sql.

-- name: insert
INSERT INTO responsa.operation (id, tenant_id, user_id, document_id, version, stage, kind, agent_version, max_cost_micros)
VALUES (%(id)s, %(tenant)s, %(user)s, %(id)s, 0, 'queued', 'replay', %(agent_version)s, %(max_cost)s);

-- name: add_turns
WITH newest AS (
    SELECT id, create_time FROM responsa.turn
    WHERE tenant_id = %(tenant)s AND create_time >= coalesce(%(start)s::timestamptz,
        coalesce(%(end)s::timestamptz, now()) - interval '30 days') AND create_time < coalesce(%(end)s::timestamptz, now())
        AND end_time IS NOT NULL AND state = ANY (%(states)s) AND split_part(agent_version, '/', 2) = %(agent)s
    ORDER BY create_time DESC, id DESC LIMIT %(most)s
)
INSERT INTO responsa.replayed_question (operation_id, place, tenant_id, turn_id)
SELECT %(id)s, row_number() OVER (ORDER BY create_time, id), %(tenant)s, id FROM newest;

-- name: add_texts
INSERT INTO responsa.replayed_question (operation_id, place, tenant_id, question)
SELECT %(id)s, place, %(tenant)s, text FROM unnest(%(texts)s::text[]) WITH ORDINALITY AS q (text, place);

-- name: begun
UPDATE responsa.operation SET passages_total = (SELECT count(*) FROM responsa.replayed_question WHERE operation_id = %(id)s)
WHERE tenant_id = %(tenant)s AND id = %(id)s RETURNING *, EXISTS (SELECT FROM responsa.pause) AS paused;

-- name: claim
UPDATE responsa.operation SET epoch = epoch + 1, stage = 'embedding', update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s AND kind = 'replay' AND stage || '' <> 'done'
RETURNING epoch, agent_version, max_cost_micros, coalesce((counts ->> 'spent_micros')::bigint, 0) AS spent_micros;

-- name: owned
SELECT FROM responsa.operation WHERE tenant_id = %(tenant)s AND id = %(id)s AND epoch = %(epoch)s AND stage || '' <> 'done';

-- name: next
-- The role is that of the turn, unless the user has a lower one today. A widget's question is asked as the widget.
SELECT q.place, q.question, q.turn_id, t.request, t.state, t.terminal, t.conversation_id,
    coalesce(t.begin_time, t.create_time) AS before_time,
    t.cost_micros + (SELECT coalesce(sum(s.cost_micros), 0) FROM responsa.turn_spent AS s
        WHERE s.tenant_id = %(tenant)s AND s.turn_id = t.id)::bigint AS cost_micros,
    (extract(epoch FROM t.end_time - coalesce(t.begin_time, t.end_time)) * 1000)::bigint AS milliseconds,
    u.id AS user_id, CASE WHEN t.widget THEN 'widget' WHEN t.role = 'user' THEN t.role ELSE u.role END AS role
FROM responsa.replayed_question AS q JOIN responsa.operation AS o ON o.id = q.operation_id
LEFT JOIN responsa.turn AS t ON t.id = q.turn_id
LEFT JOIN responsa.app_user AS u ON u.tenant_id = %(tenant)s AND u.id = coalesce(t.user_id, o.user_id) AND u.disable_time IS NULL
WHERE q.tenant_id = %(tenant)s AND q.operation_id = %(id)s AND q.state = 'waiting' ORDER BY q.place LIMIT 1;

-- name: parts
SELECT c.document_id, c.version, c.source_start, c.source_end, c.tool, c.title, c.uri FROM responsa.message AS m
    JOIN responsa.citation AS c ON c.message_id = m.id
WHERE m.tenant_id = %(tenant)s AND m.conversation_id = %(conversation)s AND m.turn_id = %(turn)s;

-- name: calls (log)
SELECT tool, arguments, outcome, content, data, sources, fault, effect FROM responsa.turn_tool
    WHERE turn_id = %(turn)s AND outcome IS NOT NULL ORDER BY create_time, call_id;

-- name: settle
-- One question, or all that wait.
UPDATE responsa.replayed_question
    SET state = %(state)s, before = %(before)s, after = %(after)s, citations_kept = %(kept)s, citations_lost = %(lost)s,
    citations_new = %(new)s,
    unrecorded_tool_calls = %(unrecorded)s
WHERE tenant_id = %(tenant)s AND operation_id = %(id)s AND state = 'waiting' AND (%(place)s::int IS NULL OR place = %(place)s);

-- name: count
UPDATE responsa.operation
    SET passages_done = passages_done + %(settled)s, counts = %(counts)s, update_time = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: spend
UPDATE responsa.operation
    SET counts = counts || jsonb_build_object('spent_micros', coalesce((counts ->> 'spent_micros')::bigint, 0) + %(cost_micros)s)
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: note_cost
-- The cost of the whole tenant.
INSERT INTO responsa.usage_event (tenant_id, user_id, time, kind, agent, model, embedding_tokens, input_tokens,
    output_tokens, cost_micros, unpriced_tokens)
VALUES (%(tenant)s, '00000000-0000-0000-0000-000000000000', now(), 'spent', %(agent)s, %(model)s, %(embedding_tokens)s,
    %(input_tokens)s, %(output_tokens)s, %(cost_micros)s,
    %(unpriced_tokens)s);

-- name: end
-- The questions that were deleted with their users or conversations are left out, too.
UPDATE responsa.operation SET stage = 'done', passages_done = passages_total, update_time = clock_timestamp(),
    counts = counts || jsonb_build_object('left_out', coalesce((counts ->> 'left_out')::int, 0) + passages_total - passages_done)
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: exists
SELECT FROM responsa.operation WHERE tenant_id = %(tenant)s AND id = %(id)s AND kind = 'replay';

-- name: list
SELECT q.operation_id, q.place, q.state, q.turn_id, coalesce(t.user_id, o.user_id) AS user_id, q.question, CASE
    WHEN n.question_texts THEN t.request END AS request, q.before, q.after,
    q.citations_kept, q.citations_lost, q.citations_new, q.unrecorded_tool_calls
FROM responsa.replayed_question AS q JOIN responsa.operation AS o ON o.id = q.operation_id JOIN responsa.tenant AS n ON n.id = q.tenant_id
LEFT JOIN responsa.turn AS t ON t.id = q.turn_id
WHERE q.tenant_id = %(tenant)s AND q.operation_id = %(id)s AND {where} ORDER BY {order} LIMIT %(limit)s;
