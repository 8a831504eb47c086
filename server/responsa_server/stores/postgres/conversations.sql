-- Conversations, messages and citations of one tenant (role responsa_app, tenant set).

-- name: create_conversation
INSERT INTO responsa.conversation (id, tenant_id, user_id, title, titled, labels, request_id, request, origin)
SELECT %(id)s, %(tenant)s, %(user)s,
    CASE WHEN %(title)s::text = '' THEN 'Chat ' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')
        ELSE %(title)s::text END, %(title)s::text <> '', %(labels)s::jsonb,
    %(request_id)s::uuid, %(request)s::jsonb, %(origin)s
WHERE responsa.has_room_for_conversation(%(tenant)s, %(user)s, %(most)s)
ON CONFLICT DO NOTHING;

-- name: room_for_conversation
SELECT responsa.has_room_for_conversation(%(tenant)s, %(user)s, %(most)s) AS room;

-- name: created_conversation
-- The conversation that an earlier attempt at this call, or an earlier call with this request_id, created, and the values of that request.
SELECT id, request FROM responsa.conversation
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND (id = %(id)s OR request_id = %(request_id)s)
ORDER BY id = %(id)s DESC LIMIT 1;

-- name: conversations
SELECT c.id, c.tenant_id, c.user_id, c.title, c.labels, c.pinned, c.archived, c.origin, c.revision, c.create_time,
    c.update_time, t.id AS active_turn,
    coalesce((SELECT f.slug FROM responsa.collection AS f WHERE f.tenant_id = %(tenant)s AND f.conversation_id = c.id), '') AS files
FROM responsa.conversation AS c
LEFT JOIN responsa.turn AS t ON t.conversation_id = c.id AND t.tenant_id = %(tenant)s AND t.state IN ('pending', 'running')
WHERE c.tenant_id = %(tenant)s AND c.user_id = %(user)s

-- name: get_conversation
{conversations} AND c.id = %(conversation)s;

-- name: list_conversations
-- Without those that a question made that failed, and in which nothing else has happened.
{conversations} AND {where}
    AND (c.titled OR c.pinned OR t.id IS NOT NULL
        OR EXISTS (SELECT FROM responsa.message AS m WHERE m.tenant_id = %(tenant)s AND m.conversation_id = c.id)
        OR NOT EXISTS (SELECT FROM responsa.turn AS f WHERE f.tenant_id = %(tenant)s AND f.conversation_id = c.id AND f.state = 'failed'))
ORDER BY {order} LIMIT %(limit)s;

-- name: search_conversations
-- An answer that the transaction's reader may not read does not match.
SELECT c.id, c.tenant_id, c.user_id, c.title, c.labels, c.pinned, c.archived, c.origin, c.revision, c.create_time,
    c.update_time, t.id AS active_turn, m.found,
    coalesce((SELECT f.slug FROM responsa.collection AS f WHERE f.tenant_id = %(tenant)s AND f.conversation_id = c.id), '') AS files
FROM responsa.conversation AS c
LEFT JOIN responsa.turn AS t ON t.conversation_id = c.id AND t.tenant_id = %(tenant)s AND t.state IN ('pending', 'running')
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(to_jsonb(newest) ORDER BY newest.create_time DESC, newest.id DESC), '[]') AS found FROM (
        SELECT id, speaker AS role, content AS text, create_time FROM responsa.message
        WHERE tenant_id = %(tenant)s AND conversation_id = c.id AND content ILIKE ALL (%(patterns)s::text[])
            AND (speaker = 'user' OR NOT EXISTS (SELECT FROM responsa.withheld_turns(ARRAY[turn_id])))
        ORDER BY create_time DESC, id DESC LIMIT %(most)s
    ) AS newest
) AS m
WHERE c.tenant_id = %(tenant)s AND c.user_id = %(user)s AND (c.title ILIKE ALL (%(patterns)s::text[]) OR m.found <> '[]') AND {where}
ORDER BY {order} LIMIT %(limit)s;

-- name: update_conversation
UPDATE responsa.conversation SET
    title = CASE WHEN %(title)s::text IS NULL THEN title
        WHEN %(title)s::text = '' THEN 'Chat ' || to_char(create_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') ELSE %(title)s::text END,
    titled = CASE WHEN %(title)s::text IS NULL THEN titled ELSE %(title)s::text <> '' END,
    labels = coalesce(%(labels)s::jsonb, labels), pinned = coalesce(%(pinned)s, pinned),
        archived = coalesce(%(archived)s, archived), revision = revision + 1,
    update_time = CASE WHEN %(title)s::text IS NULL AND %(labels)s::jsonb IS NULL THEN update_time ELSE now() END
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(conversation)s AND revision = coalesce(%(revision)s::bigint, revision)
RETURNING id;

-- name: lock_conversation
SELECT revision FROM responsa.conversation
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(conversation)s FOR UPDATE;

-- name: active_turn
-- The running turn, or else a waiting turn.
SELECT id FROM responsa.turn
    WHERE tenant_id = %(tenant)s AND conversation_id = %(conversation)s AND state IN ('queued', 'pending', 'running')
ORDER BY state = 'queued', create_time, id LIMIT 1;

-- name: tenants
-- Role responsa_log.
SELECT id FROM responsa.tenant;

-- name: lock_old
-- Some conversations that nobody has changed for long, and in which nothing is being answered. Each user's oldest are
-- found in the index of the user's conversations, so that the others are not read.
SELECT old.id FROM responsa.app_user AS u CROSS JOIN LATERAL (
    SELECT id FROM responsa.conversation AS c
    WHERE tenant_id = %(tenant)s AND user_id = u.id AND update_time < now() - make_interval(days => %(days)s)
        AND NOT EXISTS (SELECT FROM responsa.turn AS t WHERE t.conversation_id = c.id AND t.state IN ('queued', 'pending', 'running'))
    ORDER BY update_time LIMIT %(most)s FOR UPDATE SKIP LOCKED
) AS old
WHERE u.tenant_id = %(tenant)s LIMIT %(most)s;

-- name: files
-- What the user calls the collection of the conversation's files, and whether one of them is being read.
SELECT c.slug, EXISTS (
    SELECT FROM responsa.document AS d
    WHERE d.tenant_id = %(tenant)s AND d.collection_id = c.id AND d.state = 'indexing') AS reading
FROM responsa.collection AS c
WHERE c.tenant_id = %(tenant)s AND c.owner_id = %(user)s AND c.conversation_id = %(conversation)s;

-- name: delete_events
DELETE FROM responsa.turn_event
WHERE tenant_id = %(tenant)s AND turn_id = ANY (SELECT id FROM responsa.turn
    WHERE tenant_id = %(tenant)s AND conversation_id = %(conversation)s);

-- name: delete_turns
-- Deletes the turns and the records that belong to them, and counts the turns and the messages.
WITH said AS (
    SELECT count(*) AS messages FROM responsa.message WHERE tenant_id = %(tenant)s AND conversation_id = %(conversation)s
), gone AS (
    DELETE FROM responsa.turn WHERE tenant_id = %(tenant)s AND conversation_id = %(conversation)s RETURNING id
), saved AS (
    DELETE FROM responsa.turn_checkpoint WHERE tenant_id = %(tenant)s AND turn_id IN (SELECT id FROM gone)
), called AS (
    DELETE FROM responsa.turn_tool WHERE tenant_id = %(tenant)s AND turn_id IN (SELECT id FROM gone)
), followed AS (
    DELETE FROM responsa.turn_follower WHERE tenant_id = %(tenant)s AND turn_id IN (SELECT id FROM gone)
), spent AS (
    DELETE FROM responsa.turn_spent WHERE tenant_id = %(tenant)s AND turn_id IN (SELECT id FROM gone)
)
SELECT (SELECT count(*) FROM gone) AS turns, said.messages FROM said;

-- name: delete_conversation
-- The conversation's summary, messages and citations are deleted with it.
DELETE FROM responsa.conversation WHERE tenant_id = %(tenant)s AND id = %(conversation)s;

-- name: list_messages
SELECT id, conversation_id, turn_id, speaker, content, refusal, create_time,
    (SELECT to_jsonb(f) FROM responsa.message_feedback AS f WHERE f.tenant_id = %(tenant)s AND f.message_id = message.id) AS feedback
FROM responsa.message WHERE tenant_id = %(tenant)s AND conversation_id = %(conversation)s AND {where}
ORDER BY {order} LIMIT %(limit)s;

-- name: get_message
SELECT m.id, m.conversation_id, m.turn_id, m.speaker, m.content, m.refusal, m.create_time, to_jsonb(f) AS feedback
FROM responsa.message AS m JOIN responsa.conversation AS c ON c.id = m.conversation_id
LEFT JOIN responsa.message_feedback AS f ON f.tenant_id = m.tenant_id AND f.message_id = m.id
WHERE m.tenant_id = %(tenant)s AND c.user_id = %(user)s AND m.id = %(message)s;

-- name: lock_message
SELECT m.id, m.speaker FROM responsa.message AS m JOIN responsa.conversation AS c ON c.id = m.conversation_id
WHERE m.tenant_id = %(tenant)s AND c.user_id = %(user)s
    AND (m.id = %(message)s::uuid OR (m.turn_id = %(turn)s::uuid AND m.speaker = 'assistant')) FOR KEY SHARE OF m;

-- name: give_feedback
WITH tried AS (
    UPDATE responsa.experiment_turn AS x SET rating = %(rating)s
    FROM responsa.message AS m WHERE m.tenant_id = %(tenant)s AND m.id = %(message)s AND x.turn_id = m.turn_id
)
INSERT INTO responsa.message_feedback (tenant_id, message_id, rating, score, comment, shown, agent, pattern_id)
SELECT m.tenant_id, m.id, %(rating)s, %(score)s, %(comment)s, %(shown)s, split_part(t.agent_version, '/', 2), p.pattern_id
FROM responsa.message AS m JOIN responsa.turn AS t ON t.id = m.turn_id LEFT JOIN responsa.turn_pattern AS p ON p.turn_id = t.id
WHERE m.tenant_id = %(tenant)s AND m.id = %(message)s
ON CONFLICT (tenant_id, message_id) DO UPDATE
    SET rating = excluded.rating, score = excluded.score, comment = excluded.comment, shown = excluded.shown,
    update_time = clock_timestamp(),
    state = 'open', note = '',
    resolver_id = NULL, resolve_time = NULL
RETURNING *;

-- name: answer_of_turn
SELECT m.id, t.conversation_id, t.id AS turn_id, m.speaker, m.content, m.refusal, m.create_time
FROM responsa.turn AS t
LEFT JOIN responsa.message AS m ON m.tenant_id = %(tenant)s AND m.turn_id = t.id AND m.speaker = 'assistant'
WHERE t.tenant_id = %(tenant)s AND t.user_id = %(user)s AND t.id = %(turn)s;

-- name: last_messages
SELECT m.id, m.conversation_id, m.turn_id, m.speaker, m.content, m.refusal, m.create_time
FROM responsa.message AS m JOIN responsa.conversation AS c ON c.id = m.conversation_id
WHERE m.tenant_id = %(tenant)s AND c.user_id = %(user)s AND m.conversation_id = %(conversation)s
ORDER BY m.create_time DESC, m.id DESC LIMIT %(most)s;

-- name: read_by_turns
SELECT id, read_documents, read_versions FROM responsa.turn
WHERE tenant_id = %(tenant)s AND id = ANY (%(turns)s);

-- name: withheld_answers
-- See turns.sql.
SELECT id FROM responsa.withheld_turns(%(turns)s::uuid[]) AS w (id);

-- name: citations
SELECT message_id, passage_id, document_id, version, title, uri, source_start, source_end, quote, sha256, answer_start,
    answer_end, score, page, boxes, path,
    date, call_id, tool, source_index, fetch_time, quote_origin, verdict, differences
FROM responsa.citation
WHERE tenant_id = %(tenant)s AND message_id = ANY (%(messages)s)
ORDER BY message_id, place;

-- name: tool_sources
-- What the tools returned to a turn of the caller.
SELECT c.call_id, c.sources FROM responsa.turn_tool AS c
WHERE c.tenant_id = %(tenant)s AND c.sources IS NOT NULL AND c.turn_id = (
    SELECT t.id FROM responsa.turn AS t
    WHERE t.tenant_id = %(tenant)s AND t.user_id = %(user)s
        AND t.id = coalesce(%(turn)s::uuid, (SELECT m.turn_id FROM responsa.message AS m
            WHERE m.tenant_id = %(tenant)s AND m.id = %(message)s)));

-- name: find_summary
-- Only if the transaction's user may read all that the summary was drawn from.
SELECT s.summary, s.through_message, s.read_documents, s.read_versions
FROM responsa.conversation_summary AS s JOIN responsa.conversation AS c ON c.id = s.conversation_id
WHERE s.tenant_id = %(tenant)s AND c.tenant_id = %(tenant)s AND c.user_id = %(user)s AND s.conversation_id = %(conversation)s
    AND cardinality(responsa.unreadable_documents(s.read_documents)) = 0;

-- name: keep_summary
-- Locks the conversation, so that a deletion either comes first or also deletes this summary.
INSERT INTO responsa.conversation_summary (conversation_id, tenant_id, through_message, summary, read_documents, read_versions)
SELECT id, tenant_id, %(through)s, %(summary)s, %(read_documents)s::uuid[], %(read_versions)s::int[] FROM responsa.conversation
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(conversation)s
FOR KEY SHARE
ON CONFLICT (conversation_id) DO UPDATE
    SET through_message = excluded.through_message, summary = excluded.summary, update_time = excluded.update_time,
        read_documents = excluded.read_documents, read_versions = excluded.read_versions;
