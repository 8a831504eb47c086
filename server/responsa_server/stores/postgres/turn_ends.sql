-- How turns end, as responsa_app with the tenant set. First the conversation's row is locked, then the turn's (turn_accept.sql).
-- `state || ''` keeps the planner on the primary key where a turn is named, as do single values in place of joins: these plans are kept, and one that was made
-- while there was little would walk all that there is later.

-- name: hold_conversation
-- Before a turn is ended, by its id alone.
SELECT id FROM responsa.conversation
WHERE tenant_id = %(tenant)s AND id = (SELECT conversation_id FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = %(turn)s)
FOR NO KEY UPDATE;

-- name: finish_turn
WITH fenced AS (
    UPDATE responsa.turn SET state = %(state)s, last_seq = %(last)s, terminal = %(terminal)b, embedding_tokens = %(embedding_tokens)s,
        input_tokens = %(input_tokens)s, output_tokens = %(output_tokens)s, end_time = now(), lease_until = NULL
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
    WHERE c.tenant_id = %(tenant)s AND c.id = (SELECT conversation_id FROM fenced) AND EXISTS (SELECT FROM spoken)
), cleared AS (
    DELETE FROM responsa.turn_checkpoint WHERE tenant_id = %(tenant)s AND turn_id = (SELECT id FROM fenced)
)
SELECT id FROM fenced;

-- name: promote_next
-- After a turn's end, in its transaction. A statement of its own: it must see a question that queued while the conversation was waited for.
UPDATE responsa.turn SET state = 'pending'
WHERE tenant_id = %(tenant)s AND id = (
    SELECT q.id FROM responsa.turn AS q
    WHERE q.tenant_id = %(tenant)s AND q.state = 'queued'
        AND q.conversation_id = (SELECT conversation_id FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = %(turn)s)
        AND NOT EXISTS (SELECT FROM responsa.turn AS a WHERE a.conversation_id = q.conversation_id AND a.state IN ('pending', 'running'))
    ORDER BY q.create_time, q.id LIMIT 1)
RETURNING id;

-- name: position
-- Where a turn stands whose finish found no row; promoted: a turn of its conversation waits for a worker.
SELECT t.epoch, t.last_seq, t.state,
    EXISTS (SELECT FROM responsa.turn AS p WHERE p.tenant_id = %(tenant)s AND p.conversation_id = t.conversation_id AND p.state = 'pending') AS promoted
FROM responsa.turn AS t WHERE t.tenant_id = %(tenant)s AND t.id = %(turn)s;

-- name: find_cancelled
-- The turn that a caller may end.
SELECT id FROM responsa.turn WHERE tenant_id = %(tenant)s AND (user_id = %(user)s OR NOT %(owner_only)s) AND id = %(turn)s;

-- name: lock_turn
SELECT id, tenant_id, state, last_seq, attempt FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = %(turn)s
FOR NO KEY UPDATE;

-- name: hold_watched
-- As `hold_conversation`, where there may be something to end: a stream that was refused, since the turn is somebody else's, has ended like any other.
SELECT id FROM responsa.conversation
WHERE tenant_id = %(tenant)s AND id = (
    SELECT conversation_id FROM responsa.turn
    WHERE tenant_id = %(tenant)s AND (user_id = %(user)s) IS TRUE AND id = %(turn)s AND watched AND terminal IS NULL)
FOR NO KEY UPDATE;

-- name: lock_unfollowed
-- A watched turn of the caller's at work that no process says to be followed.
SELECT t.id, t.tenant_id, t.state, t.last_seq, t.attempt FROM responsa.turn AS t
WHERE t.tenant_id = %(tenant)s AND (t.user_id = %(user)s) IS TRUE AND t.id = %(turn)s AND t.watched AND t.terminal IS NULL
    AND NOT EXISTS (SELECT FROM responsa.turn_follower AS f WHERE f.tenant_id = %(tenant)s AND f.turn_id = t.id AND f.until > now())
FOR NO KEY UPDATE OF t;

-- name: end_turn
-- By somebody who does not run it: the next epoch stops who does. What it had cost by its last checkpoint; who ran it books what came after.
WITH kept AS (
    SELECT embedding_tokens, input_tokens, output_tokens FROM responsa.turn_checkpoint WHERE tenant_id = %(tenant)s AND turn_id = %(turn)s
), ended AS (
    UPDATE responsa.turn SET state = 'cancelled', epoch = epoch + 1, last_seq = %(last)s, terminal = %(terminal)b, end_time = now(), lease_until = NULL,
        embedding_tokens = coalesce((SELECT embedding_tokens FROM kept), 0), input_tokens = coalesce((SELECT input_tokens FROM kept), 0),
        output_tokens = coalesce((SELECT output_tokens FROM kept), 0)
    WHERE tenant_id = %(tenant)s AND id = %(turn)s AND terminal IS NULL
    RETURNING id, tenant_id, epoch
), logged AS (
    INSERT INTO responsa.turn_event (turn_id, seq, last_seq, tenant_id, deltas, frame)
    SELECT id, %(first)s, %(last)s, tenant_id, false, %(frame)b FROM ended
), cleared AS (
    DELETE FROM responsa.turn_checkpoint WHERE tenant_id = %(tenant)s AND turn_id = (SELECT id FROM ended)
)
SELECT epoch FROM ended;

-- name: book_spent
INSERT INTO responsa.turn_spent (turn_id, epoch, tenant_id, embedding_tokens, input_tokens, output_tokens)
SELECT id, %(epoch)s, tenant_id, %(embedding_tokens)s, %(input_tokens)s, %(output_tokens)s FROM responsa.turn
WHERE tenant_id = %(tenant)s AND id = %(turn)s
ON CONFLICT DO NOTHING;
