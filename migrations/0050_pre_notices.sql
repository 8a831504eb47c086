-- Notifications about failed ingestions, and at most one mail an hour about the runs of a source and about failed ingestions.
SET LOCAL lock_timeout = '10s';

-- A row with the webhook '' is an event that administrators, or webhooks about ingestions, learn by a notice: 'waiting' until the notice is sent. Ingestions have the source ''.
ALTER TABLE responsa.delivery DROP CONSTRAINT delivery_event_check;
ALTER TABLE responsa.delivery ADD CONSTRAINT delivery_event_check
    CHECK (event IN ('source.failed', 'source.confirmation_wanted', 'source.succeeded', 'ingestion.failed'));
CREATE INDEX delivery_unsent ON responsa.delivery (tenant_id, event, source_id) WHERE webhook = '' AND state = 'waiting';

-- One row for each kind of event of a source, and one for the failed ingestions of the tenant. waits: whether a job sends the next notice. send_time: that of the newest notice.
CREATE TABLE responsa.notice (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    event text NOT NULL,
    source_id text NOT NULL,
    waits boolean NOT NULL DEFAULT true,
    send_time timestamptz,
    UNIQUE (tenant_id, event, source_id)
);
ALTER TABLE responsa.notice ENABLE ROW LEVEL SECURITY;
ALTER TABLE responsa.notice FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.notice TO responsa_app
    USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.notice TO responsa_app;
CREATE POLICY tenant_erasure ON responsa.notice TO CURRENT_USER USING (tenant_id = responsa.current_tenant());

-- about: the source of a notice. events: the number of events that the notice reports.
ALTER TABLE responsa.mail ADD COLUMN about text NOT NULL DEFAULT '', ADD COLUMN events int NOT NULL DEFAULT 1;
ALTER TABLE responsa.mail DROP CONSTRAINT mail_kind_check;
ALTER TABLE responsa.mail ADD CONSTRAINT mail_kind_check
    CHECK (kind IN ('register', 'reset', 'change_email', 'email_changed', 'password_changed', 'collections_received', 'run_failed', 'run_stopped', 'run_succeeded', 'ingestions_failed'));

-- Lets a waiting job of the transaction's tenant begin now. Returns whether there is such a job, waiting or running. responsa_app cannot read the queue.
CREATE FUNCTION responsa.hasten_job(queue text, identity uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant text := responsa.current_tenant();
BEGIN
    UPDATE procrastinate.procrastinate_jobs AS j SET scheduled_at = NULL
    WHERE j.status = 'todo' AND j.queue_name = queue AND j.args ->> 'tenant_id' = tenant AND j.args ->> 'id' = identity::text;
    -- A job that a worker took meanwhile is found by the second statement, which sees what was committed since the first one began.
    RETURN FOUND OR EXISTS (
        SELECT FROM procrastinate.procrastinate_jobs AS j
        WHERE j.status = 'doing' AND j.queue_name = queue AND j.args ->> 'tenant_id' = tenant AND j.args ->> 'id' = identity::text);
END
$$;
REVOKE ALL ON FUNCTION responsa.hasten_job(text, uuid) FROM public;
GRANT EXECUTE ON FUNCTION responsa.hasten_job(text, uuid) TO responsa_app;
