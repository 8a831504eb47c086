-- How many workers a job has lost in succession; see jobs.sql.
SET LOCAL lock_timeout = '10s';
ALTER TABLE procrastinate.procrastinate_jobs ADD COLUMN losses integer NOT NULL DEFAULT 0;
