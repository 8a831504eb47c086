-- 0048 has replaced these indexes. Servers of the release before used them.
SET LOCAL lock_timeout = '10s';
DROP INDEX procrastinate.job_in_turn;
DROP INDEX procrastinate.job_urgent;
