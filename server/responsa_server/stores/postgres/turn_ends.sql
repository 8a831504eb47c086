-- How turns are cancelled, as responsa_app with the tenant set. First the conversation's row is locked, then the turn's (turn_accept.sql).
-- `state || ''` keeps the planner on the primary key where a turn is named, as do single values in place of joins: these plans are kept, and one that was made
-- while there was little would walk all that there is later.

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
