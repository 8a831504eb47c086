-- The job queue (role responsa_log, all tenants). The search path is the schema procrastinate.

-- name: fetch
-- Takes the next job in turn between tenants, and between the users of a tenant: first the tenants with the fewest
-- running jobs, then the one that this worker has not served for the
-- longest time, then the urgent jobs (rank 1), then the usual ones, then the late ones (rank 3), then the users with
-- the fewest running jobs, then the one not served for the longest time,
-- then the oldest job. A job without a user counts as of a further user. A worker that has as many jobs as its
-- concurrency takes only small jobs (priority 1, 0 or -2) of users without a
-- running job, so that one user's documents never fill all places; the last place is for tenants without a running job.
-- The index job_in_turn finds each waiting user, and each user's
-- next jobs, without reading the whole queue. `status < 'doing'` means `todo`, which is the first status. PostgreSQL
-- then cannot use the library's indexes of
-- the jobs to do: while it has no statistics of a queue that has just grown, it takes one of those for as good, and
-- reads the whole queue once for each waiting job.
-- full: whether no further job can begin now. If this job's tenant has running jobs, no tenant without running jobs has a job to take.
WITH RECURSIVE share AS (
    (
        SELECT j.args ->> 'tenant_id' AS tenant_id, coalesce(j.args ->> 'user_id', '') AS user_id FROM procrastinate_jobs AS j
        WHERE j.status < 'doing'
            ORDER BY j.args ->> 'tenant_id', coalesce(j.args ->> 'user_id', ''), CASE WHEN j.priority > 0 THEN 1
            WHEN j.priority < -1 THEN 3 ELSE 2 END, j.id LIMIT 1
    )
    UNION ALL
    SELECT n.tenant_id, n.user_id FROM share AS s CROSS JOIN LATERAL (
        SELECT j.args ->> 'tenant_id' AS tenant_id, coalesce(j.args ->> 'user_id', '') AS user_id FROM procrastinate_jobs AS j
        WHERE j.status < 'doing' AND (j.args ->> 'tenant_id', coalesce(j.args ->> 'user_id', '')) > (s.tenant_id, s.user_id)
        ORDER BY j.args ->> 'tenant_id', coalesce(j.args ->> 'user_id', ''), CASE WHEN j.priority > 0 THEN 1
            WHEN j.priority < -1 THEN 3 ELSE 2 END, j.id LIMIT 1
    ) AS n
),
of_user AS (
    SELECT args ->> 'tenant_id' AS tenant_id, coalesce(args ->> 'user_id', '') AS user_id, count(*) AS jobs,
        count(*) FILTER (WHERE worker_id = %(worker)s) AS own
    FROM procrastinate_jobs WHERE status = 'doing' AND worker_id IS NOT NULL AND queue_name = ANY (%(queues)s) GROUP BY 1, 2
),
of_tenant AS (SELECT tenant_id, sum(jobs) AS jobs FROM of_user GROUP BY 1),
places AS (SELECT coalesce(sum(own), 0) AS own, coalesce(sum(own), 0) >= %(concurrency)s AS taken FROM of_user),
candidate AS MATERIALIZED (
    SELECT w.id, w.rank, s.tenant_id, s.user_id, coalesce(t.jobs, 0) AS running, coalesce(u.jobs, 0) AS user_running,
        coalesce(array_position(%(served)s::text[], s.tenant_id), 0) AS served,
        coalesce(array_position(%(served_users)s::text[], s.tenant_id || ' ' || s.user_id), 0) AS user_served
    FROM share AS s
    LEFT JOIN of_tenant AS t ON t.tenant_id = s.tenant_id
    LEFT JOIN of_user AS u ON u.tenant_id = s.tenant_id AND u.user_id = s.user_id
    CROSS JOIN places AS p
    CROSS JOIN LATERAL (
        SELECT j.id, CASE WHEN j.priority > 0 THEN 1 WHEN j.priority < -1 THEN 3 ELSE 2 END AS rank FROM procrastinate_jobs AS j
        WHERE j.status < 'doing' AND j.args ->> 'tenant_id' = s.tenant_id AND coalesce(j.args ->> 'user_id', '') = s.user_id
            AND j.queue_name = ANY (%(queues)s)
            AND (j.scheduled_at IS NULL OR j.scheduled_at <= now()) AND (j.priority IN (1, 0, -2) OR NOT p.taken)
        ORDER BY j.args ->> 'tenant_id', coalesce(j.args ->> 'user_id', ''), CASE WHEN j.priority > 0 THEN 1
            WHEN j.priority < -1 THEN 3 ELSE 2 END, j.id
        LIMIT 8 -- other workers may have locked some of them
    ) AS w
    -- Checked before any job of the user is read.
    WHERE (NOT p.taken OR t.jobs IS NULL OR u.jobs IS NULL AND p.own < 2 * %(concurrency)s)
        AND s.tenant_id <> ALL ((SELECT responsa.suspended_tenants())::text[]) -- a suspended tenant's jobs wait
        AND NOT EXISTS (SELECT FROM responsa.pause) -- and so do all jobs of a restored instance
),
chosen AS (
    SELECT j.id, c.running, c.tenant_id, c.user_id FROM candidate AS c JOIN procrastinate_jobs AS j ON j.id = c.id
    -- reads these rows alone, even if more users are expected than there are
    WHERE j.status < 'doing' AND j.id = ANY (ARRAY(SELECT id FROM candidate))
    ORDER BY c.running, c.served, c.rank, c.user_running, c.user_served, j.id LIMIT 1 FOR UPDATE OF j SKIP LOCKED
)
UPDATE procrastinate_jobs AS j SET status = 'doing', worker_id = %(worker)s FROM chosen WHERE j.id = chosen.id
RETURNING j.id, j.status, j.task_name, j.priority, j.lock, j.queueing_lock, j.args, j.scheduled_at, j.queue_name,
    j.attempts, j.worker_id, j.losses,
    chosen.running > 0 AND (SELECT own + 1 >= %(concurrency)s FROM places) AND (
        (SELECT own + 1 >= 2 * %(concurrency)s FROM places)
        OR NOT EXISTS (SELECT FROM candidate AS c WHERE c.user_running = 0
            AND (c.tenant_id, c.user_id) <> (chosen.tenant_id, chosen.user_id))
    ) AS "full";

-- name: lose
-- Assigns a job of a lost worker again. A loss does not count if the worker's process lives, or may live: because this
-- process had the job and goes on with another connection, or because
-- PostgreSQL has started again since the worker was heard.
UPDATE procrastinate_jobs AS j SET status = 'todo', attempts = j.attempts + 1, scheduled_at = NULL,
    losses = j.losses + CASE WHEN j.worker_id = ANY (%(own)s) OR w.last_heartbeat < pg_postmaster_start_time() THEN 0 ELSE 1 END
FROM procrastinate_jobs AS s LEFT JOIN procrastinate_workers AS w ON w.id = s.worker_id
WHERE s.id = %(job)s AND j.id = s.id AND j.status = 'doing' AND j.worker_id IS NOT DISTINCT FROM %(worker)s
RETURNING j.losses;

-- name: kept
-- The job's worker was not lost this time.
UPDATE procrastinate_jobs SET losses = 0 WHERE id = %(job)s AND status = 'doing' AND worker_id = %(worker)s;

-- name: fetch_reserved
-- Takes the next job of queues with separate places: first of the tenants with the fewest of them running on this
-- worker, then an urgent one, then the oldest.
WITH running AS (
    SELECT args ->> 'tenant_id' AS tenant_id, count(*) AS jobs, count(*) FILTER (WHERE priority <= 0) AS usual
    FROM procrastinate_jobs WHERE status = 'doing' AND worker_id = %(worker)s GROUP BY 1
),
chosen AS (
    SELECT j.id FROM procrastinate_jobs AS j LEFT JOIN running AS r ON r.tenant_id = j.args ->> 'tenant_id'
    WHERE j.status < 'doing' AND j.queue_name = ANY (%(queues)s) AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
        AND coalesce(r.jobs, 0) < %(of_a_tenant)s AND (j.priority > 0
            OR coalesce(r.usual, 0) < %(usual_of_a_tenant)s AND (SELECT coalesce(sum(usual), 0) FROM running) < %(usual)s)
        AND j.args ->> 'tenant_id' <> ALL ((SELECT responsa.suspended_tenants())::text[])
        AND NOT EXISTS (SELECT FROM responsa.pause)
    ORDER BY coalesce(r.jobs, 0), j.priority > 0 DESC, j.id LIMIT 1 FOR UPDATE OF j SKIP LOCKED
)
UPDATE procrastinate_jobs AS j SET status = 'doing', worker_id = %(worker)s FROM chosen WHERE j.id = chosen.id
RETURNING j.id, j.status, j.task_name, j.priority, j.lock, j.queueing_lock, j.args, j.scheduled_at, j.queue_name,
    j.attempts, j.worker_id, j.losses;

-- name: suspended
SELECT responsa.suspended_tenants() AS tenants;

-- name: living
-- The workers whose connection holds its advisory lock: classid has the upper half of the lock's number, objid the lower half.
SELECT objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid = %(presence)s AND objsubid = 1 AND granted;

-- name: present
-- Whether a process holds the lock of all processes that run jobs.
SELECT EXISTS (SELECT FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid = 0 AND objid = %(presence)s AND objsubid = 1 AND granted);
