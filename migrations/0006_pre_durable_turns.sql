-- Turns that outlive those who run them: queued and cancelled ones, checkpoints, the ledger of tools, who follows, and the pruning of the log.
-- A turn that runs while this is applied has no begin_time: its limit counts from when it is taken over.
ALTER TABLE responsa.turn
    DROP CONSTRAINT turn_state_check,
    DROP CONSTRAINT turn_check,
    ADD CONSTRAINT turn_state_check CHECK (state IN ('queued', 'pending', 'running', 'answered', 'refused', 'failed', 'cancelled')),
    ADD CONSTRAINT turn_open_check CHECK ((state IN ('queued', 'pending', 'running')) = (terminal IS NULL)),
    ADD COLUMN role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin', 'service')), -- of who asked, when they asked: a worker that takes it over acts for them
    ADD COLUMN attempt int NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    ADD COLUMN losses int NOT NULL DEFAULT 0 CHECK (losses >= 0), -- workers that were lost over it without a word
    ADD COLUMN begin_time timestamptz, -- when a worker first took it; its time limit counts from here
    ADD COLUMN watched boolean NOT NULL DEFAULT false, -- asked with cancel_on_disconnect
    ADD COLUMN input_tokens bigint NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    ADD COLUMN output_tokens bigint NOT NULL DEFAULT 0 CHECK (output_tokens >= 0);

-- Waiting for a worker, and waiting for the conversation: both few.
CREATE INDEX turn_pending ON responsa.turn (id) WHERE state = 'pending';
CREATE INDEX turn_queued ON responsa.turn (conversation_id, create_time, id) WHERE state = 'queued';

-- Led by what is unique over all tenants. An index led by tenant_id matches every policy's condition, and a plan made while there were few turns took it in
-- place of the primary key, so that each finish walked all turns of its tenant.
DROP INDEX responsa.turn_by_creation, responsa.turn_of_conversation, responsa.conversation_by_update, responsa.conversation_by_creation;
CREATE INDEX turn_by_creation ON responsa.turn (user_id, create_time, id);
CREATE INDEX turn_of_conversation ON responsa.turn (conversation_id);
CREATE INDEX conversation_by_update ON responsa.conversation (user_id, update_time, id);
CREATE INDEX conversation_by_creation ON responsa.conversation (user_id, create_time, id);

-- Where a running turn's graph stood last. Scratch: gone when the turn has ended. No foreign key: it is written in the log's grouped commit, behind the same fence.
CREATE TABLE responsa.turn_checkpoint (
    turn_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    epoch bigint NOT NULL, -- under which it was written
    last_seq bigint NOT NULL CHECK (last_seq >= 1),
    text_bytes int NOT NULL CHECK (text_bytes >= 0),
    embedding_tokens bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    state bytea NOT NULL
) WITH (fillfactor = 50); -- each one takes the place of the one before

-- Which tools a turn has called. The intent is committed before the call, so that no worker calls again what another one began.
CREATE TABLE responsa.turn_tool (
    turn_id uuid NOT NULL,
    call_id text NOT NULL CHECK (octet_length(call_id) BETWEEN 1 AND 200),
    tenant_id text NOT NULL,
    epoch bigint NOT NULL, -- under which it was begun
    tool text NOT NULL,
    arguments json NOT NULL, -- as they were written: jsonb would refuse a model's \u0000
    outcome text CHECK (outcome IN ('ok', 'error', 'unknown')), -- NULL: begun, nothing known since
    content text NOT NULL DEFAULT '' CHECK (octet_length(content) <= 8192),
    create_time timestamptz NOT NULL DEFAULT now(),
    end_time timestamptz,
    PRIMARY KEY (turn_id, call_id)
);

-- What workers spent on turns that were taken from them, once an epoch.
CREATE TABLE responsa.turn_spent (
    turn_id uuid NOT NULL,
    epoch bigint NOT NULL,
    tenant_id text NOT NULL,
    embedding_tokens bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    PRIMARY KEY (turn_id, epoch)
);

-- Through which processes watched turns are followed, and until when that is to be believed.
CREATE TABLE responsa.turn_follower (
    turn_id uuid NOT NULL,
    process uuid NOT NULL,
    tenant_id text NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (turn_id, process)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['turn_checkpoint', 'turn_tool', 'turn_spent', 'turn_follower'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
    END LOOP;
    -- What is spent is booked by the tenant's own role, as a finish is.
    FOREACH name IN ARRAY ARRAY['turn_checkpoint', 'turn_tool', 'turn_follower'] LOOP
        EXECUTE format('CREATE POLICY log_writes ON responsa.%I TO responsa_log USING (true) WITH CHECK (true)', name);
    END LOOP;
END
$$;

GRANT UPDATE (input_tokens, output_tokens) ON responsa.turn TO responsa_app;
GRANT UPDATE (attempt, losses, begin_time) ON responsa.turn TO responsa_log;
-- Turns are ended by the tenant's role alone: a lost one is taken over, no more swept away.
REVOKE UPDATE (terminal, end_time) ON responsa.turn FROM responsa_log;
-- Who owns a turn is written when it is accepted and when it is claimed.
REVOKE UPDATE (owner) ON responsa.turn FROM responsa_app;
GRANT SELECT, INSERT, UPDATE ON responsa.turn_checkpoint TO responsa_log;
GRANT SELECT, INSERT, UPDATE (outcome, content, end_time), DELETE ON responsa.turn_tool TO responsa_log; -- deletes with the log, once it is old
GRANT SELECT, INSERT, UPDATE (until), DELETE ON responsa.turn_follower TO responsa_log;
GRANT SELECT (turn_id, tenant_id), DELETE ON responsa.turn_checkpoint, responsa.turn_tool TO responsa_app;
GRANT SELECT (embedding_tokens, input_tokens, output_tokens) ON responsa.turn_checkpoint TO responsa_app; -- what a turn that is ended from outside has cost
GRANT SELECT, INSERT, DELETE ON responsa.turn_spent TO responsa_app;
GRANT SELECT ON responsa.turn_follower TO responsa_app;

-- The functions below run as their owner and look at all tenants' open turns, at nothing else.
CREATE POLICY open_turns ON responsa.turn FOR SELECT TO CURRENT_USER USING (state IN ('queued', 'pending', 'running'));

-- How many turns wait for a worker, over all tenants, counted up to `most`.
CREATE FUNCTION responsa.pending_turns(most int) RETURNS int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
    RETURN (SELECT count(*)::int FROM (SELECT FROM responsa.turn WHERE state = 'pending' LIMIT most) AS waiting);

-- Takes one partition out of the log, the oldest whose turns are all older than `older` and have all ended, and returns its name; NULL when there is none. This
-- week's and the last one's always stay (they would be made again). Readers and writers are stopped for the moment that it takes; where it would have to wait
-- for one of them it gives up after the lock timeout (lock_not_available) and is to be called again later. What was taken out is dropped by
-- drop_turn_events, in a transaction of its own: removing the files takes longer and needs no lock on the log.
CREATE FUNCTION responsa.detach_turn_events(older interval) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' SET lock_timeout = '100ms'
    AS $$
DECLARE
    bound timestamptz := least(now() - older, date_trunc('week', now()) - interval '7 days');
    week timestamptz;
    partition text;
BEGIN
    IF older < interval '1 day' THEN
        RAISE EXCEPTION 'a log is kept for a day at least' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock(hashtextextended('responsa.turn_event', 0)); -- as make_turn_event_partitions does
    FOR partition IN
        SELECT c.relname FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'responsa.turn_event'::regclass AND c.relname ~ '^turn_event_[0-9]{8}$'
        ORDER BY c.relname
    LOOP
        week := to_timestamp(right(partition, 8), 'YYYYMMDD');
        EXIT WHEN week + interval '7 days' > bound;
        CONTINUE WHEN EXISTS (
            SELECT FROM responsa.turn
            WHERE state IN ('queued', 'pending', 'running')
                AND id >= responsa.first_uuid7(week) AND id < responsa.first_uuid7(week + interval '7 days'));
        EXECUTE format('ALTER TABLE responsa.turn_event DETACH PARTITION responsa.%I', partition);
        RETURN partition;
    END LOOP;
    RETURN NULL;
END
$$;

-- Drops what detach_turn_events took out; returns how many tables.
CREATE FUNCTION responsa.drop_turn_events() RETURNS int
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' SET lock_timeout = '100ms'
    AS $$
DECLARE
    partition text;
    dropped int := 0;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(hashtextextended('responsa.turn_event', 0));
    FOR partition IN
        SELECT relname FROM pg_catalog.pg_class
        WHERE relnamespace = 'responsa'::regnamespace AND relkind = 'r' AND NOT relispartition AND relname ~ '^turn_event_[0-9]{8}$'
    LOOP
        EXECUTE format('DROP TABLE responsa.%I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

REVOKE ALL ON FUNCTION responsa.pending_turns(int), responsa.detach_turn_events(interval), responsa.drop_turn_events() FROM public;
GRANT EXECUTE ON FUNCTION responsa.pending_turns(int) TO responsa_app;
GRANT EXECUTE ON FUNCTION responsa.detach_turn_events(interval), responsa.drop_turn_events(), responsa.first_uuid7(timestamptz) TO responsa_log;
