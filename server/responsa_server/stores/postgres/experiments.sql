-- Experiments, which belong to the whole installation. The role responsa_app reads and writes them; insight.sql writes what was measured.

-- name: columns
id, agent, baseline, candidate, candidate_percent, unit, metric, guard, guard_margin, audited_in, create_time, end_time,
    stop_time, stopped_by,
    end_time - create_time AS duration, end_time <= now() AS over

-- name: insert_lock
-- One experiment of an agent begins at a time.
SELECT pg_advisory_xact_lock(hashtextextended('responsa.experiment ' || %(agent)s, 0));

-- name: running
SELECT id FROM responsa.experiment WHERE agent = %(agent)s AND stop_time IS NULL AND end_time > now();

-- name: insert
INSERT INTO responsa.experiment (id, agent, baseline, candidate, candidate_percent, unit, metric, guard, guard_margin, audited_in, end_time)
VALUES (%(id)s, %(agent)s, %(baseline)s, %(candidate)s, %(candidate_percent)s, %(unit)s, %(metric)s, %(guard)s,
    %(guard_margin)s, %(audited_in)s, now() + %(duration)s)
RETURNING {columns};

-- name: get
SELECT {columns} FROM responsa.experiment WHERE id = %(id)s;

-- name: list
SELECT {columns} FROM responsa.experiment WHERE {where} ORDER BY {order} LIMIT %(limit)s;

-- name: open
SELECT {columns} FROM responsa.experiment WHERE stop_time IS NULL AND end_time > now();

-- name: hold
-- One process looks at the guards at a time. If it is stopped in the middle, others go on within the minute that a guard may take.
SELECT set_config('idle_in_transaction_session_timeout', '20s', true),
    pg_try_advisory_xact_lock(hashtextextended('responsa.experiment', 0)) AS held;

-- name: stop
UPDATE responsa.experiment SET stop_time = now(), stopped_by = %(by)s WHERE id = %(id)s AND stop_time IS NULL AND end_time > now()
RETURNING id;

-- name: measured
-- metric: NULL for all.
SELECT metric, candidate, count(*) AS units, sum(n)::int8 AS turns, sum(x) AS total, sum(x * x) AS squares,
    sum(x * n) AS products, sum(n * n)::float8 AS sizes
FROM (
    SELECT m.metric, t.candidate, t.unit, sum(m.value) AS x, count(*) AS n
    FROM responsa.experiment_turn AS t CROSS JOIN LATERAL (
        SELECT 'negative_feedback' AS metric, (t.rating = 'down')::int::float8 AS value WHERE t.rating IS NOT NULL
        UNION ALL SELECT 'refusals', (t.state = 'refused')::int WHERE t.state IN ('answered', 'refused')
        UNION ALL SELECT 'failures', (t.state = 'failed')::int WHERE t.state IN ('answered', 'refused', 'failed')
        UNION ALL SELECT 'unsupported', (t.unsupported > 0)::int WHERE t.state = 'answered'
        UNION ALL SELECT 'latency', t.milliseconds / 1000.0 WHERE t.state IN ('answered', 'refused')
        UNION ALL SELECT 'cost', t.cost_micros / 1e6 WHERE t.state IN ('answered', 'refused', 'failed')
    ) AS m
    WHERE t.experiment_id = %(id)s AND (%(metric)s::text IS NULL OR m.metric = %(metric)s) GROUP BY 1, 2, 3
) AS units
GROUP BY 1, 2;
