-- Turns and their logs. Those under "log" run as responsa_log over all tenants; all others as responsa_app with the tenant set.

-- name: accept_turn
-- One statement, so that a question that loses to an equal or a faster one leaves nothing, the new conversation included.
WITH place AS (
    SELECT id FROM responsa.conversation
    WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(conversation)s AND NOT %(create)s
    FOR KEY SHARE
), accepted AS (
    INSERT INTO responsa.turn (
        id, tenant_id, user_id, conversation_id, request_id, request, request_sha256, agent_version, state, owner, epoch, lease_until, last_seq)
    SELECT %(id)s, %(tenant)s, %(user)s, target.id, %(request_id)s::uuid, %(request)b, %(request_sha256)b, %(agent_version)s, 'running', %(owner)s, 1,
        now() + %(lease)s, 1
    FROM (SELECT id FROM place UNION ALL SELECT %(conversation)s WHERE %(create)s) AS target
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
SELECT id, conversation_id, request FROM responsa.turn
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND (id = %(id)s OR request_id = %(request_id)s)
ORDER BY id = %(id)s DESC LIMIT 1;

-- name: find_request
SELECT id, conversation_id, request FROM responsa.turn
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND request_id = %(request_id)s;

-- name: find_conversation
-- Whether the conversation is there, and its turn at work.
SELECT c.id, t.id AS active_turn
FROM responsa.conversation AS c
LEFT JOIN responsa.turn AS t ON t.conversation_id = c.id AND t.tenant_id = %(tenant)s AND t.state IN ('pending', 'running')
WHERE c.tenant_id = %(tenant)s AND c.user_id = %(user)s AND c.id = %(conversation)s;

-- name: append_rows (log)
-- `state || ''` keeps the planner on the primary key: driven from turn_active the cost would grow with all running turns.
WITH fenced AS (
    UPDATE responsa.turn SET last_seq = %(last)s, lease_until = now() + %(lease)s
    WHERE id = %(turn)s AND epoch = %(epoch)s AND state || '' = 'running' AND last_seq = %(first)s - 1
    RETURNING id, tenant_id
), logged AS (
    INSERT INTO responsa.turn_event (turn_id, seq, last_seq, tenant_id, deltas, frame)
    SELECT fenced.id, r.seq, r.last_seq, fenced.tenant_id, r.deltas, r.frame
    FROM fenced, unnest(%(seqs)b::bigint[], %(last_seqs)b::bigint[], %(deltas)b::boolean[], %(frames)b::bytea[]) AS r (seq, last_seq, deltas, frame)
)
SELECT id FROM fenced;

-- name: renew_lease (log)
UPDATE responsa.turn SET lease_until = now() + %(lease)s
WHERE id = %(turn)s AND epoch = %(epoch)s AND state || '' = 'running'
RETURNING id;

-- name: log_position (log)
SELECT epoch, last_seq, state FROM responsa.turn WHERE id = %(turn)s;

-- name: position
SELECT epoch, last_seq, state FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = %(turn)s;

-- name: finish_turn
WITH fenced AS (
    UPDATE responsa.turn SET state = %(state)s, last_seq = %(last)s, terminal = %(terminal)b, embedding_tokens = %(embedding_tokens)s,
        end_time = now(), lease_until = NULL
    WHERE tenant_id = %(tenant)s AND id = %(turn)s AND epoch = %(epoch)s AND state || '' = 'running' AND last_seq = %(first)s - 1
    RETURNING id, tenant_id, conversation_id
), logged AS (
    INSERT INTO responsa.turn_event (turn_id, seq, last_seq, tenant_id, deltas, frame)
    SELECT fenced.id, r.seq, r.last_seq, fenced.tenant_id, r.deltas, r.frame
    FROM fenced, unnest(%(seqs)b::bigint[], %(last_seqs)b::bigint[], %(deltas)b::boolean[], %(frames)b::bytea[]) AS r (seq, last_seq, deltas, frame)
), spoken AS (
    INSERT INTO responsa.message (id, tenant_id, conversation_id, turn_id, speaker, content, refusal)
    SELECT m.id, fenced.tenant_id, fenced.conversation_id, fenced.id, m.speaker, m.content, m.refusal
    FROM fenced, jsonb_to_recordset(%(messages)s) AS m (id uuid, speaker text, content text, refusal text)
    RETURNING id
), cited AS (
    INSERT INTO responsa.citation (
        message_id, place, tenant_id, passage_id, document_id, version, title, uri, source_start, source_end, quote, sha256, answer_start, answer_end, score)
    SELECT c.message_id, c.place, fenced.tenant_id, c.passage_id, c.document_id, c.version, c.title, c.uri, c.source_start, c.source_end, c.quote,
        decode(c.sha256, 'hex'), c.answer_start, c.answer_end, c.score
    FROM fenced, jsonb_to_recordset(%(citations)s) AS c (message_id uuid, place smallint, passage_id uuid, document_id uuid, version int, title text,
        uri text, source_start bigint, source_end bigint, quote text, sha256 text, answer_start int, answer_end int, score double precision)
), touched AS (
    UPDATE responsa.conversation AS c SET update_time = now(), revision = c.revision + 1,
        title = CASE WHEN c.titled OR %(title)s = '' THEN c.title ELSE %(title)s END, titled = c.titled OR %(title)s <> ''
    FROM fenced
    WHERE c.tenant_id = %(tenant)s AND c.id = fenced.conversation_id AND EXISTS (SELECT FROM spoken)
)
SELECT id FROM fenced;

-- name: lost_turns (log)
-- turn_active holds the turns at work alone, so that this walks few rows.
SELECT id, tenant_id, last_seq FROM responsa.turn
WHERE state IN ('pending', 'running') AND lease_until < now()
ORDER BY id LIMIT %(most)s
FOR UPDATE SKIP LOCKED;

-- name: end_lost_turn (log)
WITH ended AS (
    UPDATE responsa.turn SET state = 'failed', epoch = epoch + 1, last_seq = %(last)s, terminal = %(terminal)b, end_time = now(), lease_until = NULL
    WHERE id = %(turn)s
    RETURNING id, tenant_id
)
INSERT INTO responsa.turn_event (turn_id, seq, last_seq, tenant_id, deltas, frame)
SELECT id, %(seq)s, %(last)s, tenant_id, false, %(frame)b FROM ended;

-- name: backlog
-- One row at least for a turn of the caller's. A row may begin before after_seq, never end before it. The events are sought by the id as given, so that
-- the planner looks at its partition alone.
SELECT CASE WHEN t.terminal IS NULL THEN NULL ELSE t.last_seq END AS end_seq, e.seq, e.last_seq, e.deltas, e.frame
FROM responsa.turn AS t
LEFT JOIN LATERAL (
    SELECT seq, last_seq, deltas, frame FROM responsa.turn_event
    WHERE tenant_id = %(tenant)s AND turn_id = %(turn)s AND last_seq > %(after)s ORDER BY seq LIMIT %(most)s
) AS e ON true
WHERE t.tenant_id = %(tenant)s AND t.user_id = %(user)s AND t.id = %(turn)s
ORDER BY e.seq;

-- name: get_turn
SELECT id, tenant_id, user_id, conversation_id, request_id, request, agent_version, state, epoch, last_seq, terminal, embedding_tokens, create_time,
    end_time
FROM responsa.turn
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(turn)s;

-- name: list_turns
SELECT id, tenant_id, user_id, conversation_id, request_id, request, agent_version, state, epoch, last_seq, terminal, embedding_tokens, create_time,
    end_time
FROM responsa.turn
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND {where}
ORDER BY {order} LIMIT %(limit)s;

-- name: make_partitions (log)
SELECT responsa.make_turn_event_partitions(make_interval(days => %(days)s));
