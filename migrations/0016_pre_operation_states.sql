-- The states of an operation have numbers, so that a caller can watch the operation and resume. No table of states is needed: a watcher needs only the newest one.
SET LOCAL lock_timeout = '10s';

ALTER TABLE responsa.operation
    ADD COLUMN seq bigint NOT NULL DEFAULT 1, -- every change raises it
    ADD COLUMN stage_time timestamptz NOT NULL DEFAULT now(); -- when the stage began; the rate of its progress is measured from here

-- A trigger, because servers of the release before change operations too, and because no statement may forget it.
CREATE FUNCTION responsa.operation_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.seq := OLD.seq + 1;
    IF NEW.stage <> OLD.stage OR NEW.epoch <> OLD.epoch THEN
        NEW.stage_time := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER operation_changed BEFORE UPDATE ON responsa.operation FOR EACH ROW EXECUTE FUNCTION responsa.operation_changed();

-- Workers take jobs in turn between tenants. This index finds the waiting tenants and the oldest jobs of each.
CREATE INDEX job_in_turn ON procrastinate.procrastinate_jobs ((args ->> 'tenant_id'), id) WHERE status = 'todo';
