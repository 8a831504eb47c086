-- A job that is hastened while it runs begins again at once when it wants another attempt. Before, it waited for the pause that it had chosen already.
SET LOCAL lock_timeout = '10s';

-- Lets a job of the transaction's tenant begin now, or begin again as soon as it ends with another attempt. Returns whether there is such a job, waiting or running. One statement, so that
-- it finds the job even if a worker takes it or returns it meanwhile. 'epoch' marks a running job for the trigger below.
CREATE OR REPLACE FUNCTION responsa.hasten_job(queue text, identity uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant text := responsa.current_tenant();
BEGIN
    UPDATE procrastinate.procrastinate_jobs AS j SET scheduled_at = CASE j.status WHEN 'todo' THEN NULL ELSE 'epoch'::timestamptz END
    WHERE j.status IN ('todo', 'doing') AND j.queue_name = queue AND j.args ->> 'tenant_id' = tenant AND j.args ->> 'id' = identity::text;
    RETURN FOUND;
END
$$;

CREATE FUNCTION responsa.begin_again() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    NEW.scheduled_at := NULL;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION responsa.begin_again() FROM public;
CREATE TRIGGER begin_again BEFORE UPDATE OF status ON procrastinate.procrastinate_jobs
    FOR EACH ROW WHEN (OLD.status = 'doing' AND NEW.status = 'todo' AND OLD.scheduled_at = 'epoch')
    EXECUTE FUNCTION responsa.begin_again();
