-- What is counted for administrators and users. Statements marked "(log)" run as responsa_log over all tenants; the
-- others as responsa_app with the tenant set.

-- name: counts
-- What the rows of `events` add to responsa.usage_hour: to the rows of the user, and to those of the tenant.
counts AS (
    SELECT e.tenant_id, u.user_id, date_trunc('hour', e.time, 'UTC') AS hour, e.agent, e.model, e.collection, '' AS tool,
        (e.kind = 'answered')::int AS answered, (e.kind = 'refused')::int AS refused,
            (e.kind = 'failed')::int AS failed, (e.kind = 'cancelled')::int AS cancelled,
        (e.kind = 'search')::int AS searches, (e.kind = 'upload')::int AS uploads, (e.kind = 'sign_in')::int AS sign_ins, 0 AS tool_calls,
        e.embedding_tokens, e.input_tokens, e.output_tokens, e.cost_micros, e.unpriced_tokens
    FROM events AS e CROSS JOIN LATERAL (SELECT e.user_id UNION SELECT '00000000-0000-0000-0000-000000000000'::uuid) AS u
    UNION ALL
    SELECT e.tenant_id, u.user_id, date_trunc('hour', e.time, 'UTC'), e.agent, '', '', t.tool, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0
    FROM events AS e CROSS JOIN LATERAL unnest(e.tools) AS t (tool)
    CROSS JOIN LATERAL (SELECT e.user_id UNION SELECT '00000000-0000-0000-0000-000000000000'::uuid) AS u
)

-- name: qualities
-- What the rows of `events` add to responsa.quality_hour.
qualities AS (
    SELECT e.tenant_id, date_trunc('hour', e.time, 'UTC') AS hour, e.agent, q.measure, q.label, q.total
    FROM events AS e CROSS JOIN LATERAL (
        SELECT 'turns' AS measure, e.kind AS label, 1 AS total
        UNION ALL SELECT 'refusals', e.refusal, 1 WHERE e.refusal <> ''
        UNION ALL SELECT 'citations', '', e.citations WHERE e.citations > 0
        UNION ALL SELECT 'cited_answers', '', 1 WHERE e.citations > 0
        UNION ALL SELECT 'unsupported_sentences', '', e.unsupported WHERE e.unsupported > 0
        UNION ALL SELECT t.measure, floor(4 * ln(greatest(t.milliseconds, 1)::float8) / ln(2::float8) + 1e-9)::int::text, 1
            FROM (VALUES ('latency', e.milliseconds), ('first_words', e.first_words_milliseconds)) AS t (measure, milliseconds)
            WHERE t.milliseconds IS NOT NULL AND e.kind IN ('answered', 'refused')
        UNION ALL SELECT 'fallbacks', f.kind, 1 FROM unnest(e.fallbacks) AS f (kind)
    ) AS q
    WHERE e.kind IN ('answered', 'refused', 'failed', 'cancelled')
)

-- name: sums
sum(answered), sum(refused), sum(failed), sum(cancelled), sum(searches), sum(uploads), sum(sign_ins), sum(tool_calls),
    sum(embedding_tokens), sum(input_tokens), sum(output_tokens), sum(cost_micros), sum(unpriced_tokens)

-- name: added
answered = h.answered + excluded.answered, refused = h.refused + excluded.refused, failed = h.failed + excluded.failed,
    cancelled = h.cancelled + excluded.cancelled,
    searches = h.searches + excluded.searches, uploads = h.uploads + excluded.uploads,
        sign_ins = h.sign_ins + excluded.sign_ins, tool_calls = h.tool_calls + excluded.tool_calls,
    embedding_tokens = h.embedding_tokens + excluded.embedding_tokens,
        input_tokens = h.input_tokens + excluded.input_tokens, output_tokens = h.output_tokens + excluded.output_tokens,
    cost_micros = h.cost_micros + excluded.cost_micros, unpriced_tokens = h.unpriced_tokens + excluded.unpriced_tokens

-- name: hold (log)
-- One process adds events at a time. The erasing of a user waits for it.
SELECT pg_try_advisory_xact_lock(hashtextextended('responsa.usage_event', 0));

-- name: fold (log)
-- Moves events into the sums of their hours and days, at most `most`, and leaves the questions to be grouped. Notes
-- what was measured of the turns of experiments. Returns the number of events.
WITH events AS MATERIALIZED (
    DELETE FROM responsa.usage_event WHERE ctid = ANY (ARRAY(SELECT ctid FROM responsa.usage_event LIMIT %(most)s)) RETURNING *
), {counts}, {qualities}, used AS (
    INSERT INTO responsa.usage_hour AS h
    SELECT tenant_id, user_id, hour, agent, model, collection, tool, {sums} FROM counts GROUP BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (user_id, hour, tenant_id, agent, model, collection, tool) DO UPDATE SET {added}
), used_of_day AS (
    INSERT INTO responsa.usage_day AS h
    SELECT tenant_id, user_id, date_trunc('day', hour, 'UTC'), agent, model, collection, tool, {sums} FROM counts
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (user_id, day, tenant_id, agent, model, collection, tool) DO UPDATE SET {added}
), rated AS (
    INSERT INTO responsa.quality_hour AS h
    SELECT tenant_id, hour, agent, measure, label, sum(total) FROM qualities GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (tenant_id, hour, agent, measure, label) DO UPDATE SET total = h.total + excluded.total
), rated_of_day AS (
    INSERT INTO responsa.quality_day AS h
    SELECT tenant_id, date_trunc('day', hour, 'UTC'), agent, measure, label, sum(total) FROM qualities GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (tenant_id, day, agent, measure, label) DO UPDATE SET total = h.total + excluded.total
), asked AS (
    INSERT INTO responsa.question_event (tenant_id, user_id, turn_id, time, state, citations, unsupported, create_time)
    SELECT tenant_id, user_id, turn_id, time, CASE WHEN refusal = 'no_support' THEN refusal
        ELSE kind END, citations, unsupported, create_time
    FROM events WHERE kind IN ('answered', 'refused', 'failed', 'cancelled')
), tried AS (
    UPDATE responsa.experiment_turn AS x
    SET state = e.kind, milliseconds = e.milliseconds, cost_micros = e.cost_micros, unsupported = e.unsupported
    FROM events AS e WHERE x.turn_id = e.turn_id AND e.kind IN ('answered', 'refused', 'failed', 'cancelled')
)
SELECT count(*) FROM events;

-- name: hurry
-- If PostgreSQL's machine fails, the searches of its last half second may go uncounted.
SELECT set_config('synchronous_commit', 'off', true);

-- name: note_searches
-- Nothing for a user who has been deleted meanwhile.
INSERT INTO responsa.usage_event (tenant_id, user_id, time, kind, collection)
SELECT u.tenant_id, u.id, now(), 'search', c.name FROM responsa.app_user AS u CROSS JOIN unnest(%(collections)s::text[]) AS c (name)
WHERE u.tenant_id = %(tenant)s AND u.id = %(user)s;

-- name: usage
-- user: the nil UUID for the whole tenant. With a granularity of '', the whole period is one row. The days from
-- first_day to before last_day are read from their own sums.
WITH events AS (
    SELECT * FROM responsa.usage_event WHERE tenant_id = %(tenant)s
), {counts}, found AS (
    SELECT * FROM responsa.usage_hour WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND hour >= %(start)s AND hour < %(first_day)s
    UNION ALL
    SELECT * FROM responsa.usage_day WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND day >= %(first_day)s AND day < %(last_day)s
    UNION ALL
    SELECT * FROM responsa.usage_hour WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND hour >= %(last_day)s AND hour < %(end)s
    UNION ALL
    SELECT * FROM counts WHERE user_id = %(user)s AND hour >= %(start)s AND hour < %(end)s
)
SELECT CASE %(granularity)s::text WHEN '' THEN %(start)s::timestamptz ELSE date_trunc(%(granularity)s::text, hour, 'UTC') END AS start_time,
    CASE WHEN 'agent' = ANY (%(by)s::text[]) THEN agent ELSE '' END AS agent_id, CASE WHEN 'model' = ANY (%(by)s::text[])
        THEN model ELSE '' END AS model,
    CASE WHEN 'collection' = ANY (%(by)s::text[]) THEN collection ELSE '' END AS collection_id, CASE
        WHEN 'tool' = ANY (%(by)s::text[]) THEN tool ELSE '' END AS tool_id,
    sum(answered)::bigint AS answered_turns, sum(refused)::bigint AS refused_turns, sum(failed)::bigint AS failed_turns,
    sum(cancelled)::bigint AS cancelled_turns, coalesce(sum(answered) FILTER (WHERE model = 'passages'), 0)::bigint AS passages_turns,
    sum(searches)::bigint AS searches, sum(uploads)::bigint AS uploads, sum(sign_ins)::bigint AS sign_ins,
        sum(tool_calls)::bigint AS tool_calls,
    sum(embedding_tokens)::bigint AS embedding_tokens, sum(input_tokens)::bigint AS input_tokens,
        sum(output_tokens)::bigint AS output_tokens,
    sum(cost_micros)::bigint AS cost_usd_micros, sum(unpriced_tokens)::bigint AS unpriced_tokens
FROM found GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT %(most)s;

-- name: state
-- When a reader of the same transaction sees what.
SELECT now() AS complete_through;

-- name: quality
-- The sums of each agent over the whole time, whose start_time is NULL; and with a granularity other than '', those of
-- all agents in each period.
WITH events AS (
    SELECT * FROM responsa.usage_event WHERE tenant_id = %(tenant)s
), {qualities}, found AS (
    SELECT hour, agent, measure, label, total FROM responsa.quality_hour
        WHERE tenant_id = %(tenant)s AND hour >= %(start)s AND hour < %(first_day)s
    UNION ALL
    SELECT day, agent, measure, label, total FROM responsa.quality_day
        WHERE tenant_id = %(tenant)s AND day >= %(first_day)s AND day < %(last_day)s
    UNION ALL
    SELECT hour, agent, measure, label, total FROM responsa.quality_hour
        WHERE tenant_id = %(tenant)s AND hour >= %(last_day)s AND hour < %(end)s
    UNION ALL
    SELECT hour, agent, measure, label, total FROM qualities WHERE hour >= %(start)s AND hour < %(end)s
)
SELECT start_time, agent, measure, label, sum(total)::bigint AS total FROM (
    SELECT CASE %(granularity)s::text WHEN '' THEN NULL ELSE date_trunc(%(granularity)s::text, hour,
        'UTC') END AS start_time, agent, measure, label, total FROM found
) AS f
GROUP BY GROUPING SETS ((agent, measure, label), (start_time, measure, label)) HAVING grouping(agent) = 0 OR %(granularity)s::text <> ''
ORDER BY 1, 2, 3, 4;

-- name: turns
-- The text is NULL unless administrators may read it, and the user unless the user has given feedback.
SELECT t.id, t.id AS turn_id, t.create_time, t.agent_version, t.state, t.latency_ms, t.first_words_ms, t.cost_usd_micros, CASE
    WHEN n.question_texts THEN t.request END AS request,
    r.refusal, f.rating, CASE WHEN f.message_id IS NOT NULL THEN t.user_id END AS user_id, t.terminal
FROM (
    SELECT * FROM (
        SELECT id, tenant_id, user_id, create_time, terminal, agent_version, split_part(agent_version, '/', 2) AS agent, state, request,
            (extract(epoch FROM end_time - create_time) * 1000)::bigint AS latency_ms,
            (extract(epoch FROM coalesce(first_words_time, end_time) - create_time) * 1000)::bigint AS first_words_ms,
            cost_micros + (SELECT coalesce(sum(s.cost_micros), 0)::bigint FROM responsa.turn_spent AS s
                WHERE s.tenant_id = %(tenant)s AND s.turn_id = turn.id) AS cost_usd_micros
        FROM responsa.turn
        WHERE tenant_id = %(tenant)s AND create_time >= %(start)s AND create_time < %(end)s AND end_time IS NOT NULL
    ) AS ended WHERE {where} ORDER BY {order} LIMIT %(limit)s
) AS t
JOIN responsa.tenant AS n ON n.id = t.tenant_id
LEFT JOIN responsa.message AS r ON r.turn_id = t.id AND r.speaker = 'assistant'
LEFT JOIN responsa.message_feedback AS f ON f.tenant_id = t.tenant_id AND f.message_id = r.id
ORDER BY {order};

-- name: slowest_tools (log)
-- Of each of these turns, the tool whose call took longest. How long a call took whose worker was lost is not known.
SELECT DISTINCT ON (turn_id) turn_id, tool, (extract(epoch FROM end_time - create_time) * 1000)::bigint AS milliseconds
FROM responsa.turn_tool
WHERE tenant_id = %(tenant)s AND turn_id = ANY (%(turns)s::uuid[]) AND end_time IS NOT NULL
ORDER BY turn_id, milliseconds DESC, tool;

-- name: all_feedback
SELECT f.*, f.message_id AS id, f.message_id AS feedback_id, m.turn_id, c.user_id, split_part(t.agent_version, '/', 2) AS agent_id,
    CASE WHEN n.question_texts THEN q.content ELSE '' END AS question
FROM responsa.message_feedback AS f
JOIN responsa.message AS m ON m.tenant_id = f.tenant_id AND m.id = f.message_id
JOIN responsa.turn AS t ON t.id = m.turn_id
JOIN responsa.conversation AS c ON c.id = m.conversation_id
JOIN responsa.tenant AS n ON n.id = f.tenant_id
LEFT JOIN responsa.message AS q ON q.turn_id = m.turn_id AND q.speaker = 'user'
WHERE f.tenant_id = %(tenant)s

-- name: feedback
{all_feedback} AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: one_feedback
{all_feedback} AND f.message_id = %(message)s;

-- name: exchange
-- What a user shows of a turn, and the documents of it that the caller may read.
SELECT f.message_id AS feedback_id, q.content AS question, a.content AS answer, t.terminal,
    ARRAY(SELECT d.id FROM responsa.document AS d
        WHERE d.tenant_id = f.tenant_id AND d.id = ANY (responsa.documents_named(t.terminal))) AS readable
FROM responsa.message_feedback AS f
JOIN responsa.message AS a ON a.tenant_id = f.tenant_id AND a.id = f.message_id
JOIN responsa.turn AS t ON t.id = a.turn_id
LEFT JOIN responsa.message AS q ON q.turn_id = a.turn_id AND q.speaker = 'user'
WHERE f.tenant_id = %(tenant)s AND f.message_id = %(message)s AND f.shown;

-- name: resolve
UPDATE responsa.message_feedback SET state = %(state)s, note = %(note)s, resolver_id = %(user)s, resolve_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND message_id = %(message)s RETURNING message_id;

-- name: feedback_stats
-- The counts of each agent over the whole time, whose start_time is NULL; and with a granularity other than '', those
-- of all agents in each period.
WITH given AS (
    SELECT f.*, CASE %(granularity)s::text WHEN '' THEN NULL ELSE date_trunc(%(granularity)s::text, update_time,
        'UTC') END AS start_time FROM responsa.message_feedback AS f
    WHERE tenant_id = %(tenant)s AND update_time >= %(start)s AND update_time < %(end)s
)
SELECT start_time, coalesce(agent, '') AS agent, count(*) FILTER (WHERE rating = 'up') AS up,
    count(*) FILTER (WHERE rating = 'down') AS down, count(*) FILTER (WHERE comment <> '') AS commented,
    count(*) FILTER (WHERE state = 'open') AS open, count(score) AS scored, coalesce(sum(score), 0)::bigint AS scores,
    count(*) FILTER (WHERE score = 3) AS neutral
FROM given
GROUP BY GROUPING SETS ((agent), (start_time)) HAVING grouping(agent) = 0 OR %(granularity)s::text <> ''
ORDER BY 1, 2;

-- name: settings
SELECT question_texts, budget_micros FROM responsa.tenant WHERE id = %(tenant)s;

-- name: set_settings
-- NULL leaves a setting. Titles of patterns are made from questions, so they go when texts may no longer be read.
WITH changed AS (
    UPDATE responsa.tenant
        SET question_texts = coalesce(%(question_texts)s::boolean, question_texts),
        budget_micros = coalesce(%(budget_micros)s::bigint, budget_micros)
    WHERE id = %(tenant)s AND (question_texts <> %(question_texts)s::boolean
        OR budget_micros <> %(budget_micros)s::bigint) RETURNING id, question_texts
), untitled AS (
    UPDATE responsa.question_pattern AS p SET title = '', title_time = NULL FROM changed AS c
    WHERE p.tenant_id = c.id AND NOT c.question_texts AND (p.title <> '' OR p.title_time IS NOT NULL)
)
SELECT id FROM changed;
