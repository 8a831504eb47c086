-- How turns end, as responsa_app with the tenant set: by their worker, many of one tenant together, or from outside. First the conversations' rows are locked,
-- then the turns' (turn_accept.sql).
-- `state || ''` and `= ANY` keep the planner on the primary keys, as do single values in place of joins: these plans are kept, and one that was made while there
-- was little would walk all that there is later.

-- name: finish_turns
-- A turn whose conversation or row somebody else has locked is passed over, so that one that has to wait keeps no other from its end. place is a finish's own,
-- from 1: a turn may stand here under several epochs, of which the fence lets one through. row_from to row_to are its rows in the arrays of rows.
WITH fence AS MATERIALIZED (
    SELECT * FROM unnest(%(turns)b::uuid[], %(epochs)b::bigint[], %(firsts)b::bigint[], %(lasts)b::bigint[], %(states)b::text[], %(terminals)b::bytea[],
        %(embedding_tokens)b::bigint[], %(input_tokens)b::bigint[], %(output_tokens)b::bigint[], %(cost_micros)b::bigint[], %(unpriced_tokens)b::bigint[],
        %(titles)b::text[], %(speaks)b::boolean[], %(froms)b::int[], %(tos)b::int[]) WITH ORDINALITY
        AS f (id, epoch, first, last, state, terminal, embedding_tokens, input_tokens, output_tokens, cost_micros, unpriced_tokens, title, speaks, row_from,
            row_to, place)
), held AS MATERIALIZED (
    SELECT f.* FROM fence AS f JOIN responsa.turn AS t ON t.id = f.id JOIN responsa.conversation AS c ON c.id = t.conversation_id
    WHERE t.tenant_id = %(tenant)s AND t.id = ANY (%(turns)b::uuid[]) AND c.tenant_id = %(tenant)s
        AND c.id = ANY (ARRAY(SELECT conversation_id FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = ANY (%(turns)b::uuid[])))
        AND t.epoch = f.epoch AND t.state || '' = 'running' AND t.last_seq = f.first - 1
    FOR NO KEY UPDATE OF c, t SKIP LOCKED
), fenced AS (
    UPDATE responsa.turn AS t SET state = held.state, last_seq = held.last, terminal = held.terminal, embedding_tokens = held.embedding_tokens,
        input_tokens = held.input_tokens, output_tokens = held.output_tokens, cost_micros = held.cost_micros, unpriced_tokens = held.unpriced_tokens,
        end_time = now(), lease_until = NULL
    FROM held WHERE t.tenant_id = %(tenant)s AND t.id = held.id AND t.id = ANY (%(turns)b::uuid[])
    RETURNING t.id, t.tenant_id, t.conversation_id, held.title, held.speaks, held.row_from, held.row_to, held.place
), logged AS (
    INSERT INTO responsa.turn_event (turn_id, seq, last_seq, tenant_id, deltas, frame)
    SELECT fenced.id, r.seq, r.last_seq, fenced.tenant_id, r.deltas, r.frame
    FROM fenced, unnest((%(seqs)b::bigint[])[fenced.row_from:fenced.row_to], (%(last_seqs)b::bigint[])[fenced.row_from:fenced.row_to],
        (%(deltas)b::boolean[])[fenced.row_from:fenced.row_to], (%(frames)b::bytea[])[fenced.row_from:fenced.row_to]) AS r (seq, last_seq, deltas, frame)
), spoken AS (
    INSERT INTO responsa.message (id, tenant_id, conversation_id, turn_id, speaker, content, refusal)
    SELECT m.id, fenced.tenant_id, fenced.conversation_id, fenced.id, m.speaker, m.content, m.refusal
    FROM fenced JOIN jsonb_to_recordset(%(messages)s) AS m (finish bigint, id uuid, speaker text, content text, refusal text) ON m.finish = fenced.place
), cited AS (
    INSERT INTO responsa.citation (
        message_id, place, tenant_id, passage_id, document_id, version, title, uri, source_start, source_end, quote, sha256, answer_start, answer_end, score)
    SELECT c.message_id, c.place, fenced.tenant_id, c.passage_id, c.document_id, c.version, c.title, c.uri, c.source_start, c.source_end, c.quote,
        decode(c.sha256, 'hex'), c.answer_start, c.answer_end, c.score
    FROM fenced JOIN jsonb_to_recordset(%(citations)s) AS c (finish bigint, message_id uuid, place smallint, passage_id uuid, document_id uuid, version int,
        title text, uri text, source_start bigint, source_end bigint, quote text, sha256 text, answer_start int, answer_end int, score double precision)
        ON c.finish = fenced.place
), touched AS (
    UPDATE responsa.conversation AS c SET update_time = now(), revision = c.revision + 1,
        title = CASE WHEN c.titled OR fenced.title = '' THEN c.title ELSE fenced.title END, titled = c.titled OR fenced.title <> ''
    FROM fenced WHERE c.tenant_id = %(tenant)s AND c.id = fenced.conversation_id AND c.id = ANY (ARRAY(SELECT conversation_id FROM fenced)) AND fenced.speaks
), cleared AS (
    DELETE FROM responsa.turn_checkpoint
    WHERE tenant_id = %(tenant)s AND turn_id = ANY (%(turns)b::uuid[]) AND turn_id IN (SELECT id FROM fenced)
)
SELECT place, conversation_id FROM fenced;

-- name: hold_turn
-- Before `finish_turns`, for a turn that it has passed over.
SELECT id FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = %(turn)s
FOR NO KEY UPDATE;

-- name: promote_after
-- After turns were ended, in the same transaction (now() tells which it ended): the next turn of each one's conversation. A statement of its own: it must see a
-- question that queued until the conversation was locked.
UPDATE responsa.turn SET state = 'pending'
WHERE tenant_id = %(tenant)s AND id IN (
    SELECT n.id FROM responsa.turn AS f, LATERAL (
        SELECT q.id FROM responsa.turn AS q
        WHERE q.tenant_id = %(tenant)s AND q.conversation_id = f.conversation_id AND q.state = 'queued'
            AND NOT EXISTS (SELECT FROM responsa.turn AS a WHERE a.conversation_id = q.conversation_id AND a.state IN ('pending', 'running'))
        ORDER BY q.create_time, q.id LIMIT 1) AS n
    WHERE f.tenant_id = %(tenant)s AND f.id = ANY (%(turns)b::uuid[]) AND f.terminal IS NOT NULL AND f.end_time = now())
RETURNING conversation_id;

-- name: position
-- Where a turn stands whose finish found no row; promoted: a turn of its conversation waits for a worker.
SELECT t.epoch, t.last_seq, t.state,
    EXISTS (SELECT FROM responsa.turn AS p WHERE p.tenant_id = %(tenant)s AND p.conversation_id = t.conversation_id AND p.state = 'pending') AS promoted
FROM responsa.turn AS t WHERE t.tenant_id = %(tenant)s AND t.id = %(turn)s;

-- name: hold_conversation
-- Before a turn is ended, by its id alone.
SELECT id FROM responsa.conversation
WHERE tenant_id = %(tenant)s AND id = (SELECT conversation_id FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = %(turn)s)
FOR NO KEY UPDATE;

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
    SELECT embedding_tokens, input_tokens, output_tokens, cost_micros, unpriced_tokens FROM responsa.turn_checkpoint
    WHERE tenant_id = %(tenant)s AND turn_id = %(turn)s
), ended AS (
    UPDATE responsa.turn SET state = 'cancelled', epoch = epoch + 1, last_seq = %(last)s, terminal = %(terminal)b, end_time = now(), lease_until = NULL,
        embedding_tokens = coalesce((SELECT embedding_tokens FROM kept), 0), input_tokens = coalesce((SELECT input_tokens FROM kept), 0),
        output_tokens = coalesce((SELECT output_tokens FROM kept), 0), cost_micros = coalesce((SELECT cost_micros FROM kept), 0),
        unpriced_tokens = coalesce((SELECT unpriced_tokens FROM kept), 0)
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
INSERT INTO responsa.turn_spent (turn_id, epoch, tenant_id, embedding_tokens, input_tokens, output_tokens, cost_micros, unpriced_tokens)
SELECT id, %(epoch)s, tenant_id, %(embedding_tokens)s, %(input_tokens)s, %(output_tokens)s, %(cost_micros)s, %(unpriced_tokens)s FROM responsa.turn
WHERE tenant_id = %(tenant)s AND id = %(turn)s
ON CONFLICT DO NOTHING;
