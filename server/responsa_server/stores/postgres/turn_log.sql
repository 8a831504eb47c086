-- What workers write while they hold turns, as responsa_log over all tenants.
-- `id = ANY` and `state || ''` keep the planner on the primary key: driven from an index over turns at work, or from all turns while they are few, the cost of a
-- plan that is kept would grow with what there is and not with what is asked for.
-- Rows that somebody else has locked are passed over, never waited for: so one turn that is being cancelled stops no other, and no two batches can wait for
-- each other.

-- name: append_fence (log)
-- The parts of an append become one statement, this one first. Only the current epoch writes (epoch), and only right after what is committed (last_seq), so
-- that an append sent again writes nothing twice; and nothing after a release (lease_until), which a write that comes late must not undo. first is 0 where there
-- are no rows. row_from to row_to are a turn's rows in the arrays of append_rows, saved is its checkpoint's place, 0 for none: no part joins two long lists.
fence AS MATERIALIZED (
    SELECT * FROM unnest(%(turns)b::uuid[], %(epochs)b::bigint[], %(firsts)b::bigint[], %(lasts)b::bigint[], %(leases)b::float8[], %(froms)b::int[],
        %(tos)b::int[], %(saves)b::int[]) AS f (id, epoch, first, last, lease, row_from, row_to, saved)
), held AS MATERIALIZED (
    SELECT t.id, f.last, f.lease, f.row_from, f.row_to, f.saved FROM fence AS f JOIN responsa.turn AS t ON t.id = f.id
    WHERE t.epoch = f.epoch AND t.state || '' = 'running' AND t.lease_until IS DISTINCT FROM '-infinity' AND (f.first = 0 OR t.last_seq = f.first - 1) AND t.id = ANY (%(turns)b::uuid[])
    FOR NO KEY UPDATE OF t SKIP LOCKED
), fenced AS (
    UPDATE responsa.turn AS t SET last_seq = greatest(t.last_seq, held.last), lease_until = now() + held.lease * interval '1 s'
    FROM held WHERE t.id = held.id AND t.id = ANY (%(turns)b::uuid[])
    RETURNING t.id, t.tenant_id, t.epoch, held.row_from, held.row_to, held.saved
)

-- name: append_rows (log)
logged AS (
    INSERT INTO responsa.turn_event (turn_id, seq, last_seq, tenant_id, deltas, frame)
    SELECT fenced.id, r.seq, r.last_seq, fenced.tenant_id, r.deltas, r.frame
    FROM fenced, unnest((%(seqs)b::bigint[])[fenced.row_from:fenced.row_to], (%(last_seqs)b::bigint[])[fenced.row_from:fenced.row_to],
        (%(deltas)b::boolean[])[fenced.row_from:fenced.row_to], (%(frames)b::bytea[])[fenced.row_from:fenced.row_to]) AS r (seq, last_seq, deltas, frame)
)

-- name: append_checkpoints (log)
saved AS (
    INSERT INTO responsa.turn_checkpoint (turn_id, tenant_id, epoch, last_seq, text_bytes, embedding_tokens, input_tokens, output_tokens, cost_micros,
        unpriced_tokens, state)
    SELECT id, tenant_id, epoch, (%(saved_seqs)b::bigint[])[saved], (%(text_bytes)b::int[])[saved], (%(embedding_tokens)b::bigint[])[saved],
        (%(input_tokens)b::bigint[])[saved], (%(output_tokens)b::bigint[])[saved], (%(cost_micros)b::bigint[])[saved], (%(unpriced_tokens)b::bigint[])[saved],
        (%(states)b::bytea[])[saved]
    FROM fenced WHERE saved > 0
    ON CONFLICT (turn_id) DO UPDATE SET epoch = excluded.epoch, last_seq = excluded.last_seq, text_bytes = excluded.text_bytes,
        embedding_tokens = excluded.embedding_tokens, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
        cost_micros = excluded.cost_micros, unpriced_tokens = excluded.unpriced_tokens, state = excluded.state, update_time = excluded.update_time
)

-- name: append_tools (log)
-- The ledger: what is called, with its outcome where that is known already.
called AS (
    INSERT INTO responsa.turn_tool (turn_id, call_id, tenant_id, epoch, tool, arguments, outcome, content, end_time)
    SELECT fenced.id, c.call, fenced.tenant_id, fenced.epoch, c.tool, c.arguments::json, nullif(c.outcome, ''), c.content,
        CASE WHEN c.outcome <> '' THEN now() END
    FROM unnest(%(called_turns)s::uuid[], %(calls)s::text[], %(tools)s::text[], %(arguments)s::text[], %(outcomes)s::text[], %(contents)s::text[])
        AS c (id, call, tool, arguments, outcome, content)
    JOIN fenced ON fenced.id = c.id
    ON CONFLICT (turn_id, call_id) DO NOTHING
), returned AS (
    UPDATE responsa.turn_tool AS t SET outcome = r.outcome, content = r.content, end_time = now()
    FROM unnest(%(returned_turns)s::uuid[], %(returns)s::text[], %(returned_outcomes)s::text[], %(returned_contents)s::text[])
        AS r (id, call, outcome, content)
    JOIN fenced ON fenced.id = r.id
    WHERE t.turn_id = r.id AND t.call_id = r.call AND t.turn_id = ANY (%(returned_turns)s::uuid[])
)

-- name: positions (log)
SELECT id, epoch, last_seq, state, coalesce(lease_until = '-infinity', false) AS released FROM responsa.turn WHERE id = ANY (%(turns)b::uuid[]);

-- name: renew_leases (log)
WITH held AS MATERIALIZED (
    SELECT t.id, f.lease FROM unnest(%(turns)b::uuid[], %(epochs)b::bigint[], %(leases)b::float8[]) AS f (id, epoch, lease)
    JOIN responsa.turn AS t ON t.id = f.id
    WHERE t.epoch = f.epoch AND t.state || '' = 'running' AND t.lease_until IS DISTINCT FROM '-infinity' AND t.id = ANY (%(turns)b::uuid[])
    FOR NO KEY UPDATE OF t SKIP LOCKED
)
UPDATE responsa.turn AS t SET lease_until = now() + held.lease * interval '1 s' FROM held WHERE t.id = held.id AND t.id = ANY (%(turns)b::uuid[])
RETURNING t.id;
