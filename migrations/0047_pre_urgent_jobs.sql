-- Workers take a tenant's urgent jobs before its other jobs. This index finds the oldest of them.
SET LOCAL lock_timeout = '10s';
CREATE INDEX job_urgent ON procrastinate.procrastinate_jobs ((args ->> 'tenant_id'), id) WHERE status = 'todo' AND priority > 0;
