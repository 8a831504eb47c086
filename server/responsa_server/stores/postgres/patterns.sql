-- Questions grouped by their vectors. Statements marked "(log)" run as responsa_log over all tenants; the others as
-- responsa_app with the tenant set. The nil UUID stands for the
-- questions that are in no pattern.

-- name: due (log)
-- The tenants with questions to group, patterns to renew, or patterns to which a model may give a title. The first part
-- jumps from tenant to tenant in the index.
WITH RECURSIVE waiting AS (
    (SELECT tenant_id FROM responsa.question_event ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT e.tenant_id FROM responsa.question_event AS e WHERE e.tenant_id > w.tenant_id ORDER BY e.tenant_id
        LIMIT 1) FROM waiting AS w WHERE w.tenant_id IS NOT NULL
)
SELECT tenant_id FROM waiting WHERE tenant_id IS NOT NULL
UNION SELECT tenant_id FROM responsa.pattern_loss
UNION SELECT n.id FROM responsa.tenant AS n WHERE %(titles)s AND n.question_texts AND n.suspend_time IS NULL AND EXISTS (
    SELECT FROM responsa.question_pattern AS p
    WHERE p.tenant_id = n.id AND p.title = '' AND p.turns >= 2 AND (p.title_time < now() - interval '1 h') IS NOT FALSE)
ORDER BY 1;

-- name: waiting
SELECT e.id, e.turn_id, t.request FROM responsa.question_event AS e LEFT JOIN responsa.turn AS t ON t.id = e.turn_id
WHERE e.tenant_id = %(tenant)s ORDER BY e.id LIMIT %(most)s;

-- name: lock
-- One process groups the questions of a tenant at a time.
SELECT pg_advisory_xact_lock(hashtextextended('responsa.patterns ' || %(tenant)s, 0));

-- name: living
-- These turns are not deleted before the transaction ends.
SELECT id FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = ANY (%(turns)s::uuid[]) ORDER BY id FOR KEY SHARE;

-- name: take
DELETE FROM responsa.question_event WHERE tenant_id = %(tenant)s AND id = ANY (%(events)s::bigint[])
    RETURNING id, turn_id, time, state, citations, unsupported;

-- name: patterns
SELECT id, vector, CASE WHEN central = '' THEN vector ELSE central END AS central FROM responsa.question_pattern
WHERE tenant_id = %(tenant)s AND embedding = %(embedding)s;

-- name: put_patterns
INSERT INTO responsa.question_pattern AS p (id, tenant_id, embedding, vector, central, turns, last_time)
SELECT id, %(tenant)s, %(embedding)s, vector, CASE WHEN central = vector THEN '' ELSE central END, turns, last_time
FROM unnest(%(ids)s::uuid[], %(vectors)s::bytea[], %(centrals)s::bytea[], %(turns)s::bigint[],
    %(last_times)s::timestamptz[]) AS g (id, vector, central, turns, last_time)
ON CONFLICT (id) DO UPDATE
    SET vector = excluded.vector, central = excluded.central, turns = p.turns + excluded.turns,
    last_time = greatest(p.last_time, excluded.last_time);

-- name: put_turns
INSERT INTO responsa.turn_pattern (turn_id, tenant_id, pattern_id, state, time)
SELECT turn_id, %(tenant)s, pattern_id, state, time
FROM unnest(%(turn_ids)s::uuid[], %(pattern_ids)s::uuid[], %(states)s::text[], %(times)s::timestamptz[]) AS g (turn_id,
    pattern_id, state, time) WHERE turn_id IS NOT NULL;

-- name: reopen
-- What was done does not answer a question that was asked after it.
UPDATE responsa.question_pattern AS p SET state = 'reopened', revision = p.revision + 1
FROM unnest(%(pattern_ids)s::uuid[], %(states)s::text[], %(times)s::timestamptz[]) AS g (id, state, time)
WHERE p.tenant_id = %(tenant)s AND p.id = g.id AND p.state = 'done' AND g.state = 'no_support' AND g.time > p.resolve_time;

-- name: uncentre
UPDATE responsa.turn_pattern SET central = false WHERE tenant_id = %(tenant)s AND pattern_id = ANY (%(ids)s::uuid[]) AND central;

-- name: centre
UPDATE responsa.turn_pattern SET central = true WHERE tenant_id = %(tenant)s AND turn_id = ANY (%(central_turns)s::uuid[]);

-- name: rate
-- Feedback that was given before.
UPDATE responsa.message_feedback AS f SET pattern_id = g.pattern_id
FROM unnest(%(turn_ids)s::uuid[], %(pattern_ids)s::uuid[]) AS g (turn_id, pattern_id)
    JOIN responsa.message AS m ON m.turn_id = g.turn_id AND m.speaker = 'assistant'
WHERE f.tenant_id = %(tenant)s AND f.message_id = m.id;

-- name: added
ON CONFLICT (tenant_id, monthly, day, pattern_id) DO UPDATE
    SET answered = d.answered + excluded.answered, refused = d.refused + excluded.refused,
    no_support = d.no_support + excluded.no_support, failed = d.failed + excluded.failed, cancelled = d.cancelled + excluded.cancelled,
    cited_answers = d.cited_answers + excluded.cited_answers, citations = d.citations + excluded.citations,
        unsupported = d.unsupported + excluded.unsupported,
    first_time = least(d.first_time, excluded.first_time), last_time = greatest(d.last_time, excluded.last_time)

-- name: count
INSERT INTO responsa.pattern_day AS d
SELECT %(tenant)s, monthly, date_trunc(CASE WHEN monthly THEN 'month'
    ELSE 'day' END, time, 'UTC'), pattern_id, count(*) FILTER (WHERE state = 'answered'),
    count(*) FILTER (WHERE state IN ('refused', 'no_support')),
    count(*) FILTER (WHERE state = 'no_support'), count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'cancelled'),
    count(*) FILTER (WHERE citations > 0), sum(citations), sum(unsupported), min(time), max(time)
FROM unnest(%(pattern_ids)s::uuid[], %(states)s::text[], %(times)s::timestamptz[], %(citations)s::int[],
    %(unsupported)s::int[]) AS g (pattern_id, state, time, citations, unsupported)
CROSS JOIN (VALUES (false), (true)) AS p (monthly) GROUP BY 2, 3, 4 {added};

-- name: surplus
-- The patterns beyond the limit: those of the fewest questions, and of these the ones that nobody has asked for longest.
-- What somebody deals with goes last.
SELECT id FROM responsa.question_pattern WHERE tenant_id = %(tenant)s
ORDER BY (assignee_id IS NOT NULL AND state <> 'done') DESC, turns DESC, last_time DESC
OFFSET CASE WHEN (SELECT count(*) FROM responsa.question_pattern
    WHERE tenant_id = %(tenant)s) > %(most)s THEN %(kept)s ELSE %(most)s END;

-- name: dissolve
-- Their counts stay, for questions that are in no pattern.
WITH gone AS (
    DELETE FROM responsa.question_pattern WHERE tenant_id = %(tenant)s AND id = ANY (%(ids)s::uuid[])
), placed AS (
    DELETE FROM responsa.turn_pattern WHERE tenant_id = %(tenant)s AND pattern_id = ANY (%(ids)s::uuid[])
), rated AS (
    UPDATE responsa.message_feedback SET pattern_id = '00000000-0000-0000-0000-000000000000'
        WHERE tenant_id = %(tenant)s AND pattern_id = ANY (%(ids)s::uuid[])
), moved AS (
    DELETE FROM responsa.pattern_day WHERE tenant_id = %(tenant)s AND pattern_id = ANY (%(ids)s::uuid[]) RETURNING *
)
INSERT INTO responsa.pattern_day AS d
SELECT tenant_id, monthly, day, '00000000-0000-0000-0000-000000000000', sum(answered), sum(refused), sum(no_support),
    sum(failed), sum(cancelled), sum(cited_answers), sum(citations),
    sum(unsupported), min(first_time), max(last_time)
FROM moved GROUP BY 1, 2, 3 {added};

-- name: lost
SELECT pattern_id AS id, max(id) AS through FROM responsa.pattern_loss WHERE tenant_id = %(tenant)s GROUP BY 1 ORDER BY 2 LIMIT %(most)s;

-- name: sample
SELECT t.id, t.request FROM responsa.turn_pattern AS p JOIN responsa.turn AS t ON t.id = p.turn_id
WHERE p.tenant_id = %(tenant)s AND p.pattern_id = %(id)s ORDER BY p.central DESC, p.time DESC LIMIT %(most)s;

-- name: renew
UPDATE responsa.question_pattern AS p SET embedding = %(embedding)s, vector = %(vector)s, central = %(central)s,
    title = CASE WHEN lost.titled THEN '' ELSE title END, title_time = CASE WHEN lost.titled THEN NULL ELSE title_time END
FROM (SELECT bool_or(titled) AS titled FROM responsa.pattern_loss
    WHERE tenant_id = %(tenant)s AND pattern_id = %(id)s AND id <= %(through)s) AS lost
WHERE p.tenant_id = %(tenant)s AND p.id = %(id)s;

-- name: settle
DELETE FROM responsa.pattern_loss WHERE tenant_id = %(tenant)s AND pattern_id = %(id)s AND id <= %(through)s;

-- name: forget
DELETE FROM responsa.pattern_loss WHERE tenant_id = %(tenant)s AND pattern_id = ANY (%(ids)s::uuid[]);

-- name: untitled
SELECT p.id FROM responsa.question_pattern AS p JOIN responsa.tenant AS n ON n.id = p.tenant_id
WHERE p.tenant_id = %(tenant)s AND n.question_texts AND p.title = '' AND p.turns >= 2
    AND (p.title_time < now() - interval '1 h') IS NOT FALSE
ORDER BY p.turns DESC LIMIT %(most)s;

-- name: put_title
UPDATE responsa.question_pattern AS p SET title = %(title)s, title_time = now() FROM responsa.tenant AS n
WHERE p.tenant_id = %(tenant)s AND p.id = %(id)s AND n.id = p.tenant_id AND n.question_texts;

-- name: mark_titled
UPDATE responsa.turn_pattern SET titled = turn_id = ANY (%(turns)s::uuid[])
WHERE tenant_id = %(tenant)s AND pattern_id = %(id)s AND titled <> (turn_id = ANY (%(turns)s::uuid[]));

-- name: note_cost
INSERT INTO responsa.usage_event (tenant_id, user_id, time, kind, model, input_tokens, output_tokens, cost_micros, unpriced_tokens)
VALUES (%(tenant)s, '00000000-0000-0000-0000-000000000000', now(), 'spent', %(model)s, %(input_tokens)s,
    %(output_tokens)s, %(cost_micros)s, %(unpriced_tokens)s);

-- name: read
-- The months from first_month to before last_month are read from their own sums. A page of the patterns, and a row with
-- the nil UUID for all questions that are in none, whatever the filter.
WITH counts AS (
    SELECT pattern_id, sum(answered) AS answered, sum(refused) AS refused, sum(no_support) AS no_support,
        sum(failed) AS failed, sum(cancelled) AS cancelled,
        sum(cited_answers) AS cited_answers, sum(citations) AS citations, sum(unsupported) AS unsupported,
            min(first_time) AS first_time, max(last_time) AS last_time, 0 AS up, 0 AS down
    FROM (
        SELECT * FROM responsa.pattern_day WHERE tenant_id = %(tenant)s AND NOT monthly AND day >= %(start)s AND day < %(first_month)s
        UNION ALL
        SELECT * FROM responsa.pattern_day WHERE tenant_id = %(tenant)s AND monthly AND day >= %(first_month)s AND day < %(last_month)s
        UNION ALL
        SELECT * FROM responsa.pattern_day WHERE tenant_id = %(tenant)s AND NOT monthly AND day >= %(last_month)s AND day < %(end)s
    ) AS d GROUP BY 1
    UNION ALL
    SELECT '00000000-0000-0000-0000-000000000000', (state = 'answered')::int, (state IN ('refused', 'no_support'))::int,
        (state = 'no_support')::int, (state = 'failed')::int,
        (state = 'cancelled')::int, (citations > 0)::int, citations, unsupported, time, time, 0, 0
    FROM (
        SELECT state, time, citations, unsupported FROM responsa.question_event WHERE tenant_id = %(tenant)s
        UNION ALL
        SELECT CASE WHEN refusal = 'no_support' THEN refusal ELSE kind END, time, citations, unsupported FROM responsa.usage_event
        WHERE tenant_id = %(tenant)s AND kind IN ('answered', 'refused', 'failed', 'cancelled')
    ) AS waiting
    WHERE time >= %(start)s AND time < %(end)s
    UNION ALL
    SELECT pattern_id, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, count(*) FILTER (WHERE rating = 'up'), count(*) FILTER (WHERE rating = 'down')
    FROM responsa.message_feedback
        WHERE tenant_id = %(tenant)s AND update_time >= %(start)s AND update_time < %(end)s AND pattern_id IS NOT NULL GROUP BY 1
    UNION ALL
    SELECT coalesce((SELECT p.pattern_id FROM responsa.message AS m
        JOIN responsa.turn_pattern AS p ON p.turn_id = m.turn_id WHERE m.id = f.message_id),
            '00000000-0000-0000-0000-000000000000'), 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, coalesce(f.rating = 'up',
                false)::int, coalesce(f.rating = 'down', false)::int
    FROM responsa.message_feedback AS f
        WHERE f.tenant_id = %(tenant)s AND f.update_time >= %(start)s AND f.update_time < %(end)s AND f.pattern_id IS NULL
), sums AS (
    SELECT pattern_id AS id, sum(answered)::bigint AS answered, sum(refused)::bigint AS refused,
        sum(no_support)::bigint AS no_support, sum(failed)::bigint AS failed,
        sum(cancelled)::bigint AS cancelled, sum(cited_answers)::bigint AS cited_answers,
            sum(citations)::bigint AS citations, sum(unsupported)::bigint AS unsupported,
        sum(up)::bigint AS up, sum(down)::bigint AS down, min(first_time) AS first_time, max(last_time) AS last_time
    FROM counts GROUP BY 1
), wanted AS (
    SELECT *, CASE %(outcome)s::text WHEN 'answered' THEN answered WHEN 'refused' THEN refused WHEN 'no_support'
        THEN no_support WHEN 'failed' THEN failed
        WHEN 'rated_down' THEN down ELSE answered + refused + failed + cancelled END AS count
    FROM sums
), page AS (
    SELECT w.*, p.title, p.create_time, p.revision, p.state, p.note, p.assignee_id, p.resolver_id, p.resolve_time
    FROM wanted AS w JOIN responsa.question_pattern AS p ON p.tenant_id = %(tenant)s AND p.id = w.id
    WHERE w.count > 0 AND {where} ORDER BY {order} LIMIT %(limit)s
)
SELECT g.*, CASE WHEN n.question_texts THEN (SELECT t.request FROM responsa.turn_pattern AS p
    JOIN responsa.turn AS t ON t.id = p.turn_id WHERE p.pattern_id = g.id AND p.central) END AS request,
    n.question_texts AND NOT EXISTS (SELECT FROM responsa.pattern_loss AS l WHERE l.pattern_id = g.id AND l.titled) AS shows_title,
    ARRAY(
        SELECT e.turn_id FROM (
            SELECT p.turn_id, p.time FROM unnest(%(states)s::text[]) AS s (state) CROSS JOIN LATERAL (
                SELECT turn_id, time FROM responsa.turn_pattern
                    WHERE pattern_id = g.id AND state = s.state AND time >= %(start)s AND time < %(end)s
                    ORDER BY time DESC LIMIT %(examples)s
            ) AS p
            UNION ALL
            (SELECT m.turn_id, f.update_time FROM responsa.message_feedback AS f JOIN responsa.message AS m ON m.id = f.message_id
            WHERE %(outcome)s::text = 'rated_down' AND f.pattern_id = g.id AND f.rating = 'down'
                AND f.update_time >= %(start)s AND f.update_time < %(end)s
            ORDER BY f.update_time DESC LIMIT %(examples)s)
        ) AS e ORDER BY e.time DESC LIMIT %(examples)s
    ) AS examples
FROM page AS g JOIN responsa.tenant AS n ON n.id = %(tenant)s
UNION ALL
SELECT w.*, '', NULL, NULL, '', '', NULL, NULL, NULL, NULL, false, NULL FROM wanted AS w WHERE w.id = '00000000-0000-0000-0000-000000000000'
ORDER BY count DESC, id DESC;

-- name: complete_through
-- Everything that was committed before the first event that waits has its pattern.
SELECT least(now(), (SELECT min(create_time) FROM responsa.question_event WHERE tenant_id = %(tenant)s),
        (SELECT min(create_time) FROM responsa.usage_event WHERE tenant_id = %(tenant)s
            AND kind IN ('answered', 'refused', 'failed', 'cancelled'))) AS complete_through;
