-- 0058 has replaced this index. Servers of the release before used it.
SET LOCAL lock_timeout = '10s';
DROP INDEX procrastinate.job_waiting;
