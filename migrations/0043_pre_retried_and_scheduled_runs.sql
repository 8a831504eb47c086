-- Runs that make the documents of failed rows alone, and runs by a schedule.
SET LOCAL lock_timeout = '10s';

-- retry: whether the run makes and deletes nothing but what belongs to the rows that earlier runs set aside.
ALTER TABLE responsa.operation ADD COLUMN retry boolean NOT NULL DEFAULT false;

-- schedule_id: of the job that waits for next_run_time. A new schedule gets another id, so the job of an earlier one finds no source and ends. NULL without a schedule.
ALTER TABLE responsa.source
    ADD COLUMN schedule_id uuid,
    ADD COLUMN next_run_time timestamptz,
    ADD CONSTRAINT source_schedule_check CHECK ((schedule_id IS NULL) = (next_run_time IS NULL));
