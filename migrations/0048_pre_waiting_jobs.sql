-- The indexes of waiting jobs, with a condition that none of the library's indexes has, see jobs.sql. `status < 'doing'` means `todo`, which is the first status.
SET LOCAL lock_timeout = '10s';
CREATE INDEX job_waiting ON procrastinate.procrastinate_jobs ((args ->> 'tenant_id'), id) WHERE status < 'doing';
CREATE INDEX job_waiting_urgent ON procrastinate.procrastinate_jobs ((args ->> 'tenant_id'), id) WHERE status < 'doing' AND priority > 0;
