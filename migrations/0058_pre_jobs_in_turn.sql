-- Jobs are taken in turn between the users of a tenant, too; see jobs.sql. `status < 'doing'` means `todo`, which is the first status.
SET LOCAL lock_timeout = '10s';
CREATE INDEX job_in_turn ON procrastinate.procrastinate_jobs
    ((args ->> 'tenant_id'), (coalesce(args ->> 'user_id', '')), (CASE WHEN priority > 0 THEN 1 WHEN priority < -1 THEN 3 ELSE 2 END), id)
    WHERE status < 'doing';
