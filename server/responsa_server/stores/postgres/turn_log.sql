-- The worker's statements on turns, as responsa_log over all tenants. First come claims and releases, then the writes during a claim.
-- `id = ANY` and `state || ''` make the planner use the primary key. If a cached plan used the index over open turns, or scanned
-- all turns because the table was small when the plan was made, the cost would grow with the table and not with the request. Rows
-- that another session has locked are skipped. So a turn that is being cancelled does not delay other turns, and two batches
-- never wait for each other.

-- name: promote_orphans (log)
-- The end of each turn promotes the next turn. This statement promotes queued turns that were missed. If another question begins in the
-- conversation at the same time, this statement fails (unique_violation), and the end of that question's turn promotes the queued turn.
UPDATE responsa.turn SET state = 'pending'
WHERE id IN (
    SELECT DISTINCT ON (q.conversation_id) q.id FROM responsa.turn AS q
    WHERE q.state = 'queued'
        AND NOT EXISTS (SELECT FROM responsa.turn AS a WHERE a.conversation_id = q.conversation_id AND a.state IN ('pending', 'running'))
    ORDER BY q.conversation_id, q.create_time, q.id)
    AND state || '' = 'queued';

-- name: claim_turns (log)
-- The turns are ordered by a time that is not the first column of an index. If they were ordered by id, the planner might scan all
-- turns to find the few open ones. A worker does not claim the turns that it runs itself (the parameter `here`), because it renews
-- their leases as soon as it reaches the database again. Of the turns that have now lost `alone_after` workers, it
-- claims one at a time. The
-- subquery that finds this one runs only if there is such a turn. The turns of a restored backup wait for the end of the pause.
WITH free AS MATERIALIZED (
    SELECT id, state, lease_until FROM responsa.turn
    WHERE state IN ('pending', 'running') AND (state = 'pending' OR lease_until < now()) AND agent_version = ANY (%(versions)s::text[])
        AND (owner = %(owner)s::uuid AND id = ANY (%(here)s::uuid[])) IS NOT TRUE
        AND (id = ANY ((SELECT turns FROM responsa.pause)::uuid[])) IS NOT TRUE
        AND (losses + ((lease_until > '-infinity') IS TRUE)::int < %(alone_after)s OR id = (
            SELECT id FROM responsa.turn
            WHERE state = 'running' AND lease_until < now() AND agent_version = ANY (%(versions)s::text[])
                AND losses + (lease_until > '-infinity')::int >= %(alone_after)s AND %(suspects)s
                AND (id = ANY ((SELECT turns FROM responsa.pause)::uuid[])) IS NOT TRUE
            ORDER BY create_time, id LIMIT 1))
    ORDER BY create_time, id LIMIT %(most)s
    FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE responsa.turn AS t
        SET state = 'running', owner = %(owner)s::uuid, epoch = t.epoch + 1, lease_until = now() + %(lease)s::interval,
        begin_time = coalesce(t.begin_time, now()),
        attempt = t.attempt + CASE WHEN free.state = 'running' THEN 1 ELSE 0 END,
        losses = t.losses + CASE WHEN free.state = 'running' AND free.lease_until > '-infinity' THEN 1 ELSE 0 END,
        alone = t.alone AND free.state = 'running' AND free.lease_until > '-infinity'
    FROM free WHERE t.id = free.id
    RETURNING t.*
)
SELECT id, tenant_id, user_id, CASE WHEN widget THEN 'widget'
    ELSE role END AS role, conversation_id, request, agent_version, epoch, last_seq, attempt, losses, alone,
    reserved_tokens, reserved_micros, short_of_tokens, short_of_micros, traceparent,
    extract(epoch FROM now() - begin_time)::float8 AS age_seconds,
    NOT EXISTS (SELECT FROM responsa.turn AS e WHERE e.tenant_id = c.tenant_id AND e.conversation_id = c.conversation_id
        AND e.state IN ('answered', 'refused'))
        AS first_in_conversation
FROM claimed AS c ORDER BY create_time, id;

-- name: other_workers (log)
-- The other owners of running turns, and whether they hold no lock (presence.py). Only owners whose id is a UUIDv8 have
-- ever held one. If two processes
-- test the same lock at the same moment, one of them finds it taken, and asks again later.
WITH owners AS MATERIALIZED (
    SELECT DISTINCT owner FROM responsa.turn
    WHERE state IN ('pending', 'running') AND state = 'running' AND lease_until > now() AND owner <> %(worker)s::uuid
        AND uuid_extract_version(owner) = 8
)
SELECT owner, pg_try_advisory_xact_lock(hashtextextended('responsa.worker ' || owner::text, 0)) AS absent FROM owners;

-- name: expire_leases (log)
-- The claim that follows takes these turns like other turns whose lease has expired. If an owner lives after all, its
-- next write renews the lease.
WITH lost AS MATERIALIZED (
    SELECT id FROM responsa.turn
    WHERE state IN ('pending', 'running') AND state = 'running' AND lease_until > now() AND owner = ANY (%(workers)s::uuid[])
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE responsa.turn AS t SET lease_until = now() FROM lost WHERE t.id = lost.id;

-- name: claim_again (log)
-- For a claim whose commit was not confirmed. Finds the turns that were claimed after all, unless another worker has since claimed them.
UPDATE responsa.turn AS t SET lease_until = now() + %(lease)s::interval
FROM unnest(%(turns)s::uuid[], %(epochs)s::bigint[]) AS c (id, epoch)
WHERE t.id = c.id AND t.epoch = c.epoch AND t.owner = %(owner)s::uuid AND t.state || '' = 'running'
RETURNING t.id;

-- name: checkpoints (log)
-- `checkpoints` and `tools` are separate statements after the claim, because they must see everything that the last worker committed
-- before the claim locked the turn's row.
SELECT turn_id, last_seq, text_bytes, embedding_tokens, input_tokens, output_tokens, cost_micros, unpriced_tokens, state
FROM responsa.turn_checkpoint WHERE turn_id = ANY (%(turns)s::uuid[]);

-- name: tools (log)
SELECT turn_id, call_id, outcome, content, data, sources, fault, effect, tool, arguments FROM responsa.turn_tool
WHERE turn_id = ANY (%(turns)s::uuid[]);

-- name: mark_alone (log)
UPDATE responsa.turn SET alone = %(alone)s WHERE id = %(turn)s AND epoch = %(epoch)s AND state || '' = 'running';

-- name: release_turns (log)
-- A lease_until of '-infinity' marks a release, which the next claim does not count as a loss. Rows are locked in the
-- order of their ids, as
-- in all statements that wait for several turns.
WITH held AS MATERIALIZED (
    SELECT t.id FROM unnest(%(turns)s::uuid[], %(epochs)s::bigint[]) AS c (id, epoch) JOIN responsa.turn AS t ON t.id = c.id
    WHERE t.epoch = c.epoch AND t.state || '' = 'running'
    ORDER BY t.id FOR NO KEY UPDATE OF t
)
UPDATE responsa.turn AS t SET lease_until = '-infinity' FROM held WHERE t.id = held.id;

-- name: follow_turns (log)
-- Records the watched turns that this process follows. Deletes the records of turns that it no longer follows, and
-- expired records of any process.
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

-- name: append_fence (log)
-- The parts of an append become one statement; this part is the first. An append is accepted on three conditions. It has the turn's current
-- epoch. Its rows follow directly on last_seq, the last committed event, so that a repeated append writes nothing
-- twice. The turn was not released
-- (lease_until), because a late write must not undo a release. first is 0 if there are no rows. row_from to row_to are
-- the indexes of the turn's
-- rows in the arrays of append_rows. saved is the index of its checkpoint, or 0. A checkpoint sets the count of lost
-- workers to 0: an attempt repeats the events after the checkpoint, so only a checkpoint shows that the turn got
-- further. read_documents and read_versions are arrays as text, or '' to add nothing.
-- attempt is the attempt of the last row if it began after the claim, otherwise 0. words: whether the rows have text of
-- the answer. With these indexes no part of the statement needs to
-- join two long lists.
fence AS MATERIALIZED (
    SELECT * FROM unnest(%(turns)b::uuid[], %(epochs)b::bigint[], %(firsts)b::bigint[], %(lasts)b::bigint[],
        %(leases)b::float8[], %(froms)b::int[],
        %(tos)b::int[], %(saves)b::int[], %(read_documents)b::text[], %(read_versions)b::text[], %(attempts)b::int[], %(words)b::bool[])
        AS f (id, epoch, first, last, lease, row_from, row_to, saved, read_documents, read_versions, attempt, words)
), held AS MATERIALIZED (
    SELECT f.* FROM fence AS f JOIN responsa.turn AS t ON t.id = f.id
    WHERE t.epoch = f.epoch AND t.state || '' = 'running' AND t.lease_until IS DISTINCT
        FROM '-infinity' AND (f.first = 0 OR t.last_seq = f.first - 1) AND t.id = ANY (%(turns)b::uuid[])
    FOR NO KEY UPDATE OF t SKIP LOCKED
), fenced AS (
    UPDATE responsa.turn AS t SET last_seq = greatest(t.last_seq, held.last), attempt = greatest(t.attempt, held.attempt),
        losses = CASE WHEN held.saved > 0 THEN 0 ELSE t.losses END, lease_until = now() + held.lease * interval '1 s',
        first_words_time = CASE WHEN held.words THEN coalesce(t.first_words_time, now()) ELSE t.first_words_time END,
        read_documents = CASE WHEN held.read_documents = '' THEN t.read_documents ELSE t.read_documents || held.read_documents::uuid[] END,
        read_versions = CASE WHEN held.read_documents = '' THEN t.read_versions ELSE t.read_versions || held.read_versions::int[] END
    FROM held WHERE t.id = held.id AND t.id = ANY (%(turns)b::uuid[])
    RETURNING t.id, t.tenant_id, t.epoch, held.row_from, held.row_to, held.saved
)

-- name: append_rows (log)
logged AS (
    INSERT INTO responsa.turn_event (turn_id, seq, last_seq, tenant_id, deltas, frame)
    SELECT fenced.id, r.seq, r.last_seq, fenced.tenant_id, r.deltas, r.frame
    FROM fenced, unnest((%(seqs)b::bigint[])[fenced.row_from:fenced.row_to], (%(last_seqs)b::bigint[])[fenced.row_from:fenced.row_to],
        (%(deltas)b::boolean[])[fenced.row_from:fenced.row_to],
            (%(frames)b::bytea[])[fenced.row_from:fenced.row_to]) AS r (seq, last_seq, deltas, frame)
)

-- name: append_checkpoints (log)
saved AS (
    INSERT INTO responsa.turn_checkpoint (turn_id, tenant_id, epoch, last_seq, text_bytes, embedding_tokens,
        input_tokens, output_tokens, cost_micros,
        unpriced_tokens, state)
    SELECT id, tenant_id, epoch, (%(saved_seqs)b::bigint[])[saved], (%(text_bytes)b::int[])[saved], (%(embedding_tokens)b::bigint[])[saved],
        (%(input_tokens)b::bigint[])[saved], (%(output_tokens)b::bigint[])[saved], (%(cost_micros)b::bigint[])[saved],
            (%(unpriced_tokens)b::bigint[])[saved],
        (%(states)b::bytea[])[saved]
    FROM fenced WHERE saved > 0
    ON CONFLICT (turn_id) DO UPDATE SET epoch = excluded.epoch, last_seq = excluded.last_seq, text_bytes = excluded.text_bytes,
        embedding_tokens = excluded.embedding_tokens, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
        cost_micros = excluded.cost_micros, unpriced_tokens = excluded.unpriced_tokens, state = excluded.state,
            update_time = excluded.update_time
)

-- name: append_tools (log)
-- The ledger of tool calls, with their outcomes if these are already known.
called AS (
    INSERT INTO responsa.turn_tool (turn_id, call_id, tenant_id, epoch, tool, arguments, effect, outcome, content, data,
        sources, fault, end_time)
    SELECT fenced.id, c.call, fenced.tenant_id, fenced.epoch, c.tool, c.arguments::json, c.effect,
        nullif(c.outcome, ''), c.content, nullif(c.data, '')::json,
        nullif(c.sources, '')::json, c.fault, CASE WHEN c.outcome <> '' THEN now() END
    FROM unnest(%(called_turns)s::uuid[], %(calls)s::text[], %(tools)s::text[], %(arguments)s::text[],
        %(effects)s::text[], %(outcomes)s::text[], %(contents)s::text[],
        %(datas)s::text[], %(sources)s::text[], %(faults)s::text[])
        AS c (id, call, tool, arguments, effect, outcome, content, data, sources, fault)
    JOIN fenced ON fenced.id = c.id
    ON CONFLICT (turn_id, call_id) DO NOTHING
), returned AS (
    UPDATE responsa.turn_tool AS t
        SET outcome = r.outcome, content = r.content, data = nullif(r.data, '')::json, sources = nullif(r.sources, '')::json,
        fault = r.fault, end_time = now()
    FROM unnest(%(returned_turns)s::uuid[], %(returns)s::text[], %(returned_outcomes)s::text[],
        %(returned_contents)s::text[], %(returned_datas)s::text[],
        %(returned_sources)s::text[], %(returned_faults)s::text[]) AS r (id, call, outcome, content, data, sources, fault)
    JOIN fenced ON fenced.id = r.id
    WHERE t.turn_id = r.id AND t.call_id = r.call AND t.turn_id = ANY (%(returned_turns)s::uuid[])
)

-- name: positions (log)
SELECT id, epoch, last_seq, state, coalesce(lease_until = '-infinity', false) AS released FROM responsa.turn
    WHERE id = ANY (%(turns)b::uuid[]);

-- name: renew_leases (log)
WITH held AS MATERIALIZED (
    SELECT t.id, f.lease FROM unnest(%(turns)b::uuid[], %(epochs)b::bigint[], %(leases)b::float8[]) AS f (id, epoch, lease)
    JOIN responsa.turn AS t ON t.id = f.id
    WHERE t.epoch = f.epoch AND t.state || '' = 'running' AND t.lease_until IS DISTINCT FROM '-infinity' AND t.id = ANY (%(turns)b::uuid[])
    FOR NO KEY UPDATE OF t SKIP LOCKED
)
UPDATE responsa.turn AS t SET lease_until = now() + held.lease * interval '1 s' FROM held
    WHERE t.id = held.id AND t.id = ANY (%(turns)b::uuid[])
RETURNING t.id;

-- The ends of turns, as responsa_app with the tenant set. A worker ends many turns of one tenant together; other calls
-- end single turns. The rows
-- of the conversations are locked first, then the rows of the turns (turns.sql). `state || ''`, `= ANY` and single
-- values in place of joins make the
-- planner use the primary keys. These plans are cached, and a plan that was made for a small table would later scan a large one.

-- name: finish_turns
-- If another session has locked a turn's conversation or row, the turn is skipped, so that it does not delay the others. finish is
-- the index of a finish, from 1. The turn's id cannot identify a finish, because a turn may occur under several epochs. The fence
-- accepts only one of these epochs. The turn alone keeps the terminal event, whose seq is last. `(SELECT
-- t.conversation_id)` keeps the planner from reading all turns of a conversation. start to stop are the indexes of the
-- finish's rows in the arrays of rows.
WITH fence AS MATERIALIZED (
    SELECT * FROM unnest(%(turns)b::uuid[], %(epochs)b::int8[], %(firsts)b::int8[], %(lasts)b::int8[],
        %(states)b::text[], %(terminals)b::bytea[],
        %(embedding_tokens)b::int8[], %(input_tokens)b::int8[], %(output_tokens)b::int8[], %(cost_micros)b::int8[],
            %(unpriced_tokens)b::int8[],
        %(titles)b::text[], %(speaks)b::bool[], %(froms)b::int[], %(tos)b::int[], %(documents)b::text[],
            %(versions)b::text[], %(models)b::text[], %(collections)b::text[],
        %(refusals)b::text[], %(numbers_of_citations)b::int[], %(unsupported)b::int[], %(fallbacks)b::text[]) WITH ORDINALITY
        AS f (id, epoch, first, last, state, terminal, embedding_tokens, input_tokens, output_tokens, cost_micros,
            unpriced_tokens, title, speaks, start,
            stop, docs, versions, model, collection, refusal, citations, unsupported, fallbacks, finish)
), held AS MATERIALIZED (
    SELECT f.* FROM fence AS f JOIN responsa.turn AS t ON t.id = f.id JOIN responsa.conversation AS c ON c.id = (SELECT t.conversation_id)
    WHERE t.tenant_id = %(tenant)s::text AND t.id = ANY (%(turns)b::uuid[]) AND c.tenant_id = %(tenant)s
        AND c.id = ANY (ARRAY(SELECT conversation_id FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = ANY (%(turns)b::uuid[])))
        AND t.epoch = f.epoch AND t.state || '' = 'running' AND t.last_seq = f.first - 1
    FOR NO KEY UPDATE OF c, t SKIP LOCKED
), fenced AS (
    UPDATE responsa.turn AS t SET state = h.state, last_seq = h.last, terminal = h.terminal, embedding_tokens = h.embedding_tokens,
        input_tokens = h.input_tokens, output_tokens = h.output_tokens, cost_micros = h.cost_micros, unpriced_tokens = h.unpriced_tokens,
        end_time = now(), lease_until = NULL, read_documents = t.read_documents || h.docs::uuid[],
        read_versions = t.read_versions || h.versions::int[]
    FROM held AS h WHERE t.tenant_id = %(tenant)s AND t.id = h.id AND t.id = ANY (%(turns)b::uuid[])
    RETURNING t.id, t.tenant_id, t.conversation_id, h.title, h.speaks, h.start, h.stop, h.finish,
        octet_length(t.request) + octet_length(t.terminal) AS bytes,
        t.user_id, t.create_time, t.first_words_time, t.agent_version, t.state, t.embedding_tokens, t.input_tokens,
            t.output_tokens, t.cost_micros, t.unpriced_tokens,
        h.model, h.collection, h.refusal AS reason, h.citations, h.unsupported, h.fallbacks
), noted AS (
    INSERT INTO responsa.usage_event (tenant_id, user_id, time, kind, agent, model, collection, turn_id, tools,
        embedding_tokens, input_tokens, output_tokens,
        cost_micros, unpriced_tokens, milliseconds, first_words_milliseconds, refusal, citations, unsupported, fallbacks)
    SELECT tenant_id, user_id, create_time, state, split_part(agent_version, '/', 2), model, collection, id,
        ARRAY(SELECT tool FROM responsa.turn_tool AS c WHERE c.tenant_id = %(tenant)s
            AND c.turn_id = fenced.id), embedding_tokens, input_tokens, output_tokens,
        cost_micros, unpriced_tokens, extract(epoch FROM now() - create_time) * 1000,
        extract(epoch FROM coalesce(first_words_time, now()) - create_time) * 1000, reason, citations, unsupported, fallbacks::text[]
    FROM fenced
), logged AS (
    INSERT INTO responsa.turn_event (turn_id, seq, last_seq, tenant_id, deltas, frame)
    SELECT f.id, r.seq, r.last_seq, f.tenant_id, r.deltas, r.frame
    FROM fenced AS f, unnest((%(seqs)b::int8[])[f.start:f.stop], (%(last_seqs)b::int8[])[f.start:f.stop],
        (%(deltas)b::bool[])[f.start:f.stop], (%(frames)b::bytea[])[f.start:f.stop]) AS r (seq, last_seq, deltas, frame)
), spoken AS (
    INSERT INTO responsa.message (id, tenant_id, conversation_id, turn_id, speaker, content, refusal)
    SELECT m.id, f.tenant_id, f.conversation_id, f.id, speaker, content, refusal
    FROM fenced AS f JOIN jsonb_to_recordset(%(messages)s::jsonb) AS m (finish int8, id uuid, speaker text,
        content text, refusal text) USING (finish)
), cited AS (
    INSERT INTO responsa.citation (
        message_id, place, tenant_id, passage_id, document_id, version, title, uri, source_start, source_end, quote,
            sha256, answer_start, answer_end, score, page,
        boxes, path, date, call_id, tool, source_index, fetch_time, quote_origin,
        verdict, differences)
    SELECT message_id, place, f.tenant_id, passage_id, document_id, version, c.title, uri, source_start, source_end, quote,
        decode(sha256, 'hex'), answer_start, answer_end, score, page, boxes, path, date, call_id, tool, source_index, fetch_time,
        quote_origin, verdict, differences
    FROM fenced AS f JOIN jsonb_to_recordset(%(citations)s::jsonb) AS c (finish int8, message_id uuid, place int2,
        passage_id uuid, document_id uuid, version int,
        title text, uri text, source_start int8, source_end int8, quote text, sha256 text, answer_start int, answer_end int, score float8,
        page int, boxes int2[], path text, date text, call_id text, tool text, source_index int2, fetch_time timestamptz,
        quote_origin text, verdict text, differences json)
        USING (finish)
), touched AS (
    UPDATE responsa.conversation AS c SET turn_bytes = c.turn_bytes + f.bytes,
        update_time = CASE WHEN f.speaks THEN now() ELSE c.update_time END, revision = c.revision + f.speaks::int,
        title = CASE WHEN c.titled OR f.title = '' THEN c.title ELSE f.title END, titled = c.titled OR f.title <> ''
    FROM fenced AS f WHERE c.tenant_id = %(tenant)s AND c.id = f.conversation_id AND c.id = ANY (ARRAY(SELECT conversation_id FROM fenced))
), cleared AS (
    DELETE FROM responsa.turn_checkpoint
    WHERE tenant_id = %(tenant)s AND turn_id = ANY (%(turns)b::uuid[]) AND turn_id IN (SELECT id FROM fenced)
)
SELECT finish, conversation_id FROM fenced;

-- name: hold_turn
-- Runs before `finish_turns` is tried again for a turn that it has skipped.
SELECT id FROM responsa.turn WHERE tenant_id = %(tenant)s::text AND id = %(turn)s::uuid
FOR NO KEY UPDATE;

-- name: promote_after
-- Promotes the next turn of each conversation. Runs after turns were ended, in the same transaction, so that now()
-- identifies the turns that
-- the transaction ended. It is a separate statement, because it must see questions that were queued before the conversation was locked.
UPDATE responsa.turn SET state = 'pending'
WHERE tenant_id = %(tenant)s::text AND id IN (
    SELECT n.id FROM responsa.turn AS f, LATERAL (
        SELECT q.id FROM responsa.turn AS q
        WHERE q.tenant_id = %(tenant)s AND q.conversation_id = f.conversation_id AND q.state = 'queued'
            AND NOT EXISTS (SELECT FROM responsa.turn AS a WHERE a.conversation_id = q.conversation_id
                AND a.state IN ('pending', 'running'))
        ORDER BY q.create_time, q.id LIMIT 1) AS n
    WHERE f.tenant_id = %(tenant)s AND f.id = ANY (%(turns)b::uuid[]) AND f.terminal IS NOT NULL AND f.end_time = now())
RETURNING conversation_id;

-- name: position
-- The position of a turn whose finish found no row. promoted says whether a turn of the same conversation waits for a worker.
SELECT t.epoch, t.last_seq, t.state,
    EXISTS (SELECT FROM responsa.turn AS p WHERE p.tenant_id = %(tenant)s AND p.conversation_id = t.conversation_id
        AND p.state = 'pending') AS promoted
FROM responsa.turn AS t WHERE t.tenant_id = %(tenant)s AND t.id = %(turn)s;

-- name: hold_conversation
-- Runs before a turn is ended. It needs only the turn's id.
SELECT id FROM responsa.conversation
WHERE tenant_id = %(tenant)s::text AND id = (SELECT conversation_id FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = %(turn)s::uuid)
FOR NO KEY UPDATE;

-- name: find_cancelled
-- The turn that a caller may end.
SELECT id FROM responsa.turn WHERE tenant_id = %(tenant)s AND (user_id = %(user)s OR NOT %(owner_only)s) AND id = %(turn)s;

-- name: lock_turn
SELECT id, tenant_id, user_id, state, last_seq, attempt FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = %(turn)s
FOR NO KEY UPDATE;

-- name: hold_watched
-- Like `hold_conversation`, but only for an open watched turn of the caller. If a stream was refused because the turn belongs to another
-- user, the end of that stream must not affect the turn.
SELECT id FROM responsa.conversation
WHERE tenant_id = %(tenant)s AND id = (
    SELECT conversation_id FROM responsa.turn
    WHERE tenant_id = %(tenant)s AND (user_id = %(user)s) IS TRUE AND id = %(turn)s AND watched AND terminal IS NULL)
FOR NO KEY UPDATE;

-- name: lock_unfollowed
-- An open watched turn of the caller that no process reports as followed.
SELECT t.id, t.tenant_id, t.state, t.last_seq, t.attempt FROM responsa.turn AS t
WHERE t.tenant_id = %(tenant)s AND (t.user_id = %(user)s) IS TRUE AND t.id = %(turn)s AND t.watched AND t.terminal IS NULL
    AND NOT EXISTS (SELECT FROM responsa.turn_follower AS f WHERE f.tenant_id = %(tenant)s AND f.turn_id = t.id AND f.until > now())
FOR NO KEY UPDATE OF t;

-- name: end_turn
-- Ends a turn from a process that does not run it. The new epoch stops the worker. The turn gets the cost up to its last checkpoint; the
-- stopped worker records the cost after that checkpoint.
WITH kept AS (
    SELECT embedding_tokens, input_tokens, output_tokens, cost_micros, unpriced_tokens FROM responsa.turn_checkpoint
    WHERE tenant_id = %(tenant)s AND turn_id = %(turn)s
), ended AS (
    UPDATE responsa.turn SET state = 'cancelled', epoch = epoch + 1, last_seq = %(last)s, terminal = %(terminal)b,
        end_time = now(), lease_until = NULL,
        embedding_tokens = coalesce((SELECT embedding_tokens FROM kept), 0), input_tokens = coalesce((SELECT input_tokens FROM kept), 0),
        output_tokens = coalesce((SELECT output_tokens FROM kept), 0), cost_micros = coalesce((SELECT cost_micros FROM kept), 0),
        unpriced_tokens = coalesce((SELECT unpriced_tokens FROM kept), 0)
    WHERE tenant_id = %(tenant)s AND id = %(turn)s AND terminal IS NULL
    RETURNING id, tenant_id, epoch, conversation_id, octet_length(request) + octet_length(terminal) AS bytes, user_id,
        create_time, agent_version, embedding_tokens,
        input_tokens, output_tokens, cost_micros, unpriced_tokens
), noted AS (
    INSERT INTO responsa.usage_event (tenant_id, user_id, time, kind, agent, turn_id, tools, embedding_tokens,
        input_tokens, output_tokens, cost_micros, unpriced_tokens,
        milliseconds)
    SELECT tenant_id, user_id, create_time, 'cancelled', split_part(agent_version, '/', 2), id,
        ARRAY(SELECT tool FROM responsa.turn_tool AS c WHERE c.tenant_id = %(tenant)s
            AND c.turn_id = ended.id), embedding_tokens, input_tokens, output_tokens,
        cost_micros, unpriced_tokens, extract(epoch FROM now() - create_time) * 1000
    FROM ended
), counted AS (
    UPDATE responsa.conversation AS c SET turn_bytes = c.turn_bytes + e.bytes FROM ended AS e
        WHERE c.tenant_id = %(tenant)s AND c.id = e.conversation_id
), cleared AS (
    DELETE FROM responsa.turn_checkpoint WHERE tenant_id = %(tenant)s AND turn_id = (SELECT id FROM ended)
)
SELECT epoch FROM ended;

-- name: settle_turns
-- Counts what the turns have used that this transaction has ended, and releases what they had reserved. It is the
-- transaction's last statement that changes turns, because
-- the users' rows are locked last. A turn whose row another transaction wrote is left out, so that no turn is settled
-- twice. What workers lost is counted by `book_spent`,
-- except for checkpoints that were pruned (negative epochs). The turns are read first: otherwise the planner may walk a
-- whole index for the order of the users.
WITH ended AS MATERIALIZED (
    SELECT id, user_id, input_tokens, output_tokens, cost_micros, reserved_tokens, reserved_micros FROM responsa.turn
    WHERE tenant_id = %(tenant)s::text AND id = ANY (%(turns)b::uuid[]) AND terminal IS NOT NULL AND xmin = pg_current_xact_id()::xid
)
SELECT responsa.add_usage(%(tenant)s::text, s.user_id, s.tokens, s.micros, s.released_tokens, s.released_micros)
FROM (
    SELECT t.user_id, sum(t.input_tokens + t.output_tokens + p.tokens)::bigint AS tokens, sum(t.cost_micros + p.micros)::bigint AS micros,
        coalesce(sum(t.reserved_tokens), 0)::bigint AS released_tokens, coalesce(sum(t.reserved_micros), 0)::bigint AS released_micros
    FROM ended AS t, LATERAL (
        SELECT coalesce(sum(input_tokens + output_tokens), 0) AS tokens, coalesce(sum(cost_micros), 0) AS micros FROM responsa.turn_spent
        WHERE tenant_id = %(tenant)s AND turn_id = t.id AND epoch < 0
    ) AS p
    GROUP BY t.user_id
    HAVING sum(t.input_tokens + t.output_tokens + p.tokens + t.cost_micros + p.micros) > 0
        OR count(t.reserved_tokens) + count(t.reserved_micros) > 0
    ORDER BY t.user_id
) AS s;

-- name: book_spent
-- Counts the cost for the turn and for its user, once.
WITH worked AS MATERIALIZED (
    SELECT id, tenant_id, user_id, create_time, agent_version FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = %(turn)s
), booked AS (
    INSERT INTO responsa.turn_spent (turn_id, epoch, tenant_id, embedding_tokens, input_tokens, output_tokens,
        cost_micros, unpriced_tokens)
    SELECT id, %(epoch)s, tenant_id, %(embedding_tokens)s, %(input_tokens)s, %(output_tokens)s, %(cost_micros)s,
        %(unpriced_tokens)s FROM worked
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, input_tokens + output_tokens AS tokens, cost_micros AS micros, embedding_tokens, input_tokens,
        output_tokens, cost_micros, unpriced_tokens
), noted AS (
    INSERT INTO responsa.usage_event (tenant_id, user_id, time, kind, agent, turn_id, embedding_tokens, input_tokens,
        output_tokens, cost_micros, unpriced_tokens)
    SELECT w.tenant_id, user_id, create_time, 'spent', split_part(agent_version, '/', 2), id, embedding_tokens,
        input_tokens, output_tokens, cost_micros, unpriced_tokens
    FROM worked AS w, booked
)
SELECT responsa.add_usage(worked.tenant_id, worked.user_id, booked.tokens, booked.micros, 0, 0) FROM worked, booked
    WHERE booked.tokens + booked.micros > 0;
