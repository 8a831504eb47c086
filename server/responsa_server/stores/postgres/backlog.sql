-- What waits for a worker, and who asks, over all tenants and servers (role responsa_log).

-- name: backlog
-- Ages are in seconds; those of nothing are 0.
-- The first condition on the state is that of the partial index.
SELECT t.turns, t.turns_age,
    (SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE status = 'todo'
        AND (scheduled_at IS NULL OR scheduled_at <= now())) AS jobs,
    coalesce((SELECT extract(epoch FROM now() - coalesce(j.scheduled_at, (SELECT max(e.at)
        FROM procrastinate.procrastinate_events AS e WHERE e.job_id = j.id)))
        FROM procrastinate.procrastinate_jobs AS j
            WHERE j.status = 'todo' AND (j.scheduled_at IS NULL OR j.scheduled_at <= now()) ORDER BY j.id LIMIT 1), 0)::float AS jobs_age,
    extract(epoch FROM now() - coalesce((SELECT begin_time FROM responsa.last_backup),
        (SELECT min(apply_time) FROM responsa.migration)))::float AS backup_age,
    -- The ids of turns begin with their time.
    (SELECT count(DISTINCT user_id) FROM responsa.turn WHERE id >= responsa.first_uuid7(now() - interval '15 minutes')) AS users
FROM (
    SELECT count(*) AS turns, coalesce(max(extract(epoch FROM now() - create_time)), 0)::float AS turns_age
    FROM responsa.turn WHERE state IN ('pending', 'running') AND state = 'pending'
) AS t;
