-- Conversations, their messages with citations and feedback, turns, the log of each turn's events, and the versions of agents that answer, with their experiments.

CREATE TABLE responsa.conversation (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    title text NOT NULL CHECK (octet_length(title) BETWEEN 1 AND 200),
    titled boolean NOT NULL, -- false: the title only says when it was made, and gives way to the first one that says more
    labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    request_id uuid, -- of CreateConversation, with what it asked for
    request jsonb,
    revision bigint NOT NULL DEFAULT 1, -- counts the changes; the etag is made of it
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    -- The bytes of `request` and `terminal` of its ended turns. Every statement that writes `terminal` changes it; the conversation is locked then in any case.
    turn_bytes bigint NOT NULL DEFAULT 0,
    pinned boolean NOT NULL DEFAULT false,
    archived boolean NOT NULL DEFAULT false,
    origin text NOT NULL CHECK (origin IN ('page', 'program')), -- what began it
    UNIQUE (tenant_id, id),
    CHECK ((request_id IS NULL) = (request IS NULL)),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE UNIQUE INDEX conversation_request ON responsa.conversation (tenant_id, user_id, request_id) WHERE request_id IS NOT NULL;
-- Led by what is unique over all tenants. An index led by tenant_id matches every policy's condition, and a plan made while there were few turns took it in
-- place of the primary key, so that each finish walked all turns of its tenant. The same holds for the indexes of turns.
CREATE INDEX conversation_by_update ON responsa.conversation (user_id, update_time, id);
-- With the tenant in the index, a user's conversations are counted without reading them.
CREATE INDEX conversation_by_creation ON responsa.conversation (user_id, create_time, id) INCLUDE (tenant_id);
GRANT SELECT, INSERT, DELETE, UPDATE (title, titled, labels, revision, update_time, turn_bytes, pinned, archived) ON responsa.conversation TO responsa_app;

-- Whether a user may have another conversation; most = 0: no limit. Of two transactions of one user, the second waits until the first has committed, and counts its conversation.
CREATE FUNCTION responsa.has_room_for_conversation(wanted_tenant text, wanted_user uuid, most bigint) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF most = 0 THEN
        RETURN true;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('responsa.conversations ' || wanted_user::text, 0));
    RETURN (SELECT count(*) FROM (SELECT FROM responsa.conversation WHERE tenant_id = wanted_tenant AND user_id = wanted_user LIMIT most) AS kept) < most;
END
$$;
REVOKE ALL ON FUNCTION responsa.has_room_for_conversation FROM public;
GRANT EXECUTE ON FUNCTION responsa.has_room_for_conversation TO responsa_app;

-- What became of a conversation's older messages. Derived from messages alone, so nothing of a failed turn is in it.
CREATE TABLE responsa.conversation_summary (
    conversation_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    through_message uuid NOT NULL, -- the last message that it covers
    summary text NOT NULL CHECK (octet_length(summary) <= 4096),
    update_time timestamptz NOT NULL DEFAULT now(),
    read_documents uuid[] NOT NULL, -- as in responsa.turn
    read_versions int[] NOT NULL,
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES responsa.conversation (tenant_id, id) ON DELETE CASCADE
);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.conversation_summary TO responsa_app;

-- A question and all that is kept of it but its events. No index on lease_until: it would stop in-page updates, which every append makes.
CREATE TABLE responsa.turn (
    id uuid PRIMARY KEY, -- UUIDv7: its time says in which partition its events are
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    request_id uuid,
    request bytea NOT NULL, -- the question without what concerns only its stream, as the frame codec writes it
    request_sha256 bytea NOT NULL CHECK (length(request_sha256) = 32),
    agent_version text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'pending', 'running', 'answered', 'refused', 'failed', 'cancelled')),
    owner uuid, -- the worker that has it
    epoch bigint NOT NULL DEFAULT 1, -- a worker that writes under an older one writes nothing
    lease_until timestamptz,
    last_seq bigint NOT NULL CHECK (last_seq >= 1),
    terminal bytea, -- the terminal event's bytes, kept when its log is gone
    embedding_tokens bigint NOT NULL DEFAULT 0 CHECK (embedding_tokens >= 0),
    create_time timestamptz NOT NULL DEFAULT now(),
    end_time timestamptz,
    role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin', 'service')), -- the user's, when the question was asked: a worker that takes the turn over acts with it
    attempt int NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    losses int NOT NULL DEFAULT 0 CHECK (losses >= 0), -- workers that were lost over it without a word
    begin_time timestamptz, -- when a worker first took it; its time limit counts from here
    watched boolean NOT NULL DEFAULT false, -- asked with cancel_on_disconnect
    input_tokens bigint NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    output_tokens bigint NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    cost_micros bigint NOT NULL DEFAULT 0 CHECK (cost_micros >= 0), -- millionths of a US dollar
    unpriced_tokens bigint NOT NULL DEFAULT 0 CHECK (unpriced_tokens >= 0), -- of models whose price nobody knows
    reserved_tokens bigint, -- what an open turn has reserved, and may use; NULL: no quota limits it. An ended turn keeps the values.
    reserved_micros bigint,
    short_of_tokens boolean NOT NULL DEFAULT false, -- the quota had less left than the turn can use
    short_of_micros boolean NOT NULL DEFAULT false,
    -- The versions of documents that reached a model or the answer: read_versions[i] is the version of read_documents[i]. A version may occur more than once.
    read_documents uuid[] NOT NULL DEFAULT '{}',
    read_versions int[] NOT NULL DEFAULT '{}',
    alone boolean NOT NULL DEFAULT false, -- whether it runs alone in its worker's process; if the worker is lost meanwhile, the turn is the cause
    traceparent text CHECK (length(traceparent) = 55), -- W3C Trace Context of the call that asked: every worker that runs the turn continues its trace. NULL if no traces are made
    first_words_time timestamptz, -- NULL: no part of the text was readable before the end
    widget boolean NOT NULL DEFAULT false, -- whether a widget has asked; `role` is then 'user', and who takes the turn over reads as the widget does
    CONSTRAINT turn_open_check CHECK ((state IN ('queued', 'pending', 'running')) = (terminal IS NULL)),
    CONSTRAINT turn_check1 CHECK ((terminal IS NULL) = (end_time IS NULL)),
    CONSTRAINT turn_check2 CHECK (state <> 'running' OR (owner IS NOT NULL AND lease_until IS NOT NULL)),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES responsa.conversation (tenant_id, id)
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX turn_request ON responsa.turn (tenant_id, user_id, request_id) WHERE request_id IS NOT NULL;
-- One turn at a time in a conversation. The sweep walks this index too: it holds nothing but turns at work.
CREATE UNIQUE INDEX turn_active ON responsa.turn (conversation_id) WHERE state IN ('pending', 'running');
CREATE INDEX turn_by_creation ON responsa.turn (user_id, create_time, id);
CREATE INDEX turn_of_conversation ON responsa.turn (conversation_id);
-- Lists of a user's turns by a rare state: without this index, PostgreSQL reads all turns of the user, or of the table. Open states are rare too, and have their own indexes.
CREATE INDEX turn_ended_unanswered ON responsa.turn (user_id, state, create_time, id) WHERE state IN ('refused', 'failed', 'cancelled');
-- Lists of a tenant's turns by their time: without this index, PostgreSQL reads all turns of the time, those of other tenants too. It holds only ended turns, so that no statement
-- that finds a turn by its key, and is planned while the table is nearly empty, takes it for as good as the key.
CREATE INDEX turn_of_tenant ON responsa.turn (tenant_id, create_time, id) WHERE end_time IS NOT NULL;
-- Waiting for a worker, and waiting for the conversation: both few.
CREATE INDEX turn_pending ON responsa.turn (id) WHERE state = 'pending';
CREATE INDEX turn_queued ON responsa.turn (conversation_id, create_time, id) WHERE state = 'queued';
-- The open turns of a user and of a tenant.
CREATE INDEX turn_open_of_user ON responsa.turn (tenant_id, user_id) WHERE state IN ('queued', 'pending', 'running');
-- The worker of the log works over all tenants.
CREATE POLICY log_writes ON responsa.turn TO responsa_log USING (true) WITH CHECK (true);
CREATE POLICY access ON responsa.turn AS RESTRICTIVE TO responsa_app USING ((SELECT responsa.acting_role()) <> 'widget' OR widget);
-- The functions below that run as their owner look at all tenants' open turns, at nothing else.
CREATE POLICY open_turns ON responsa.turn FOR SELECT TO CURRENT_USER USING (state IN ('queued', 'pending', 'running'));
-- Finish is one transaction over the turn and its conversation; it takes the tenant from the turn's row and is the app role's work: the log's role ends no turn. The owner
-- is written when a turn is accepted and when it is claimed.
GRANT SELECT, INSERT, DELETE, UPDATE (state, epoch, lease_until, last_seq, terminal, embedding_tokens, end_time, input_tokens, output_tokens, cost_micros, unpriced_tokens,
    reserved_tokens, reserved_micros, short_of_tokens, short_of_micros, read_documents, read_versions) ON responsa.turn TO responsa_app;
GRANT SELECT, UPDATE (state, owner, epoch, lease_until, last_seq, attempt, losses, begin_time, read_documents, read_versions, alone, first_words_time) ON responsa.turn TO responsa_log;

-- Whether a user may have another open turn, as responsa_app with the tenant set; 0: no limit. The function is volatile, so that the user's count sees the turns that
-- other calls of the user have committed while this one waited for the lock, which ends with the transaction. No lock guards the tenant's count, because users would wait
-- for the commits of others: questions that are accepted at the same moment may exceed it.
CREATE FUNCTION responsa.has_room_for_turn(wanted_tenant text, wanted_user uuid, most_of_user bigint, most_of_tenant bigint) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF most_of_user > 0 THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('responsa.turns ' || wanted_user::text, 0));
        IF (SELECT count(*) FROM (SELECT FROM responsa.turn WHERE tenant_id = wanted_tenant AND user_id = wanted_user
                AND state IN ('queued', 'pending', 'running') LIMIT most_of_user) AS open) >= most_of_user THEN
            RETURN false;
        END IF;
    END IF;
    RETURN most_of_tenant = 0 OR (SELECT count(*) FROM (SELECT FROM responsa.turn WHERE tenant_id = wanted_tenant
        AND state IN ('queued', 'pending', 'running') LIMIT most_of_tenant) AS open) < most_of_tenant;
END
$$;
-- How many turns wait for a worker, over all tenants, counted up to `most`.
CREATE FUNCTION responsa.pending_turns(most int) RETURNS int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    RETURN (SELECT count(*)::int FROM (SELECT FROM responsa.turn WHERE state = 'pending' LIMIT most) AS waiting);
REVOKE ALL ON FUNCTION responsa.has_room_for_turn, responsa.pending_turns FROM public;
GRANT EXECUTE ON FUNCTION responsa.has_room_for_turn, responsa.pending_turns TO responsa_app;

CREATE TABLE responsa.message (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    conversation_id uuid NOT NULL,
    turn_id uuid NOT NULL,
    speaker text NOT NULL CHECK (speaker IN ('user', 'assistant')),
    content text NOT NULL,
    refusal text CHECK (refusal IN ('no_support', 'out_of_scope', 'unsafe', 'budget', 'quota', 'source_erased', 'needs_model')),
    create_time timestamptz NOT NULL DEFAULT now(),
    UNIQUE (turn_id, speaker),
    UNIQUE (tenant_id, id),
    CHECK (refusal IS NULL OR speaker = 'assistant'),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES responsa.conversation (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX message_of_conversation ON responsa.message (tenant_id, conversation_id, create_time, id);
-- Only the erasing of a user updates.
GRANT SELECT, INSERT, UPDATE (content, refusal) ON responsa.message TO responsa_app;

-- What an answer names as its sources. No foreign key to passages or documents: a citation outlives its source. A citation of what a tool returned names no document but the call and the
-- position of the source among the call's sources, from 0; the text of the source stays in the ledger of tools, as long as the turn's events.
CREATE TABLE responsa.citation (
    message_id uuid NOT NULL,
    place smallint NOT NULL CHECK (place BETWEEN 0 AND 63),
    tenant_id text NOT NULL,
    passage_id uuid,
    document_id uuid,
    version int CHECK (version >= 1),
    title text NOT NULL,
    uri text NOT NULL,
    source_start bigint NOT NULL CHECK (source_start >= 0),
    source_end bigint NOT NULL,
    quote text NOT NULL CHECK (octet_length(quote) <= 1024),
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    answer_start int NOT NULL CHECK (answer_start >= 0),
    answer_end int NOT NULL,
    score double precision NOT NULL,
    page int NOT NULL DEFAULT 0 CHECK (page >= 0), -- where the quote is in the original file; 0, NULL and '' for formats without places
    boxes smallint[] CHECK (cardinality(boxes) % 4 = 0), -- left, top, right and bottom of each, in thousandths of the page
    path text NOT NULL DEFAULT '',
    call_id text,
    tool text,
    source_index smallint CHECK (source_index >= 0),
    fetch_time timestamptz,
    date text NOT NULL DEFAULT '', -- that a cited document states for its content, as YYYY-MM-DD; '' for documents without a date
    quote_origin text NOT NULL CHECK (quote_origin IN ('copied', 'chosen', 'not_found')), -- how the quote came about (docs/adr/0131); not_found: '' as quote
    verdict text NOT NULL CHECK (verdict IN ('none', 'supported', 'denied', 'undecided')),
    -- What differs in form, [{kind, answer: [first byte, end], source: the same or null}, …]; NULL: nothing. Always read with the citation, as a whole.
    differences json,
    PRIMARY KEY (message_id, place),
    CHECK (source_start < source_end AND answer_start < answer_end),
    CONSTRAINT citation_origin CHECK (
        num_nulls(passage_id, document_id, version) = 0 AND num_nonnulls(call_id, tool, source_index, fetch_time) = 0
        OR num_nonnulls(passage_id, document_id, version) = 0 AND num_nulls(call_id, tool, source_index, fetch_time) = 0),
    FOREIGN KEY (tenant_id, message_id) REFERENCES responsa.message (tenant_id, id) ON DELETE CASCADE
);
-- Which versions of a document are still cited?
CREATE INDEX citation_of_document ON responsa.citation (tenant_id, document_id, version);
GRANT SELECT, INSERT, DELETE ON responsa.citation TO responsa_app;

CREATE TABLE responsa.message_feedback (
    tenant_id text NOT NULL,
    message_id uuid NOT NULL,
    rating text CHECK (rating IN ('up', 'down')), -- NULL: neither, by a score of 3
    comment text NOT NULL DEFAULT '' CHECK (octet_length(comment) <= 2048),
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    -- What administrators did about it. New feedback on the same answer is open again.
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done')),
    note text NOT NULL DEFAULT '' CHECK (octet_length(note) <= 2048),
    resolver_id uuid, -- who changed the state last; NULL: nobody, or an erased user
    resolve_time timestamptz,
    agent text NOT NULL, -- of the answer, like the pattern, so that feedback is counted without its turns
    pattern_id uuid, -- NULL: its question has none yet
    score smallint CHECK (score BETWEEN 1 AND 5), -- gives the rating; NULL: none
    shown boolean NOT NULL DEFAULT false, -- whether the user shows administrators the question and the answer
    PRIMARY KEY (tenant_id, message_id),
    CHECK (rating IS NOT NULL OR score IS NOT DISTINCT FROM 3),
    FOREIGN KEY (tenant_id, message_id) REFERENCES responsa.message (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX message_feedback_by_update ON responsa.message_feedback (tenant_id, update_time, message_id);
CREATE INDEX message_feedback_of_resolver ON responsa.message_feedback (tenant_id, resolver_id) WHERE resolver_id IS NOT NULL;
CREATE INDEX message_feedback_of_pattern ON responsa.message_feedback (pattern_id, update_time) WHERE pattern_id IS NOT NULL;
CREATE INDEX message_feedback_without_pattern ON responsa.message_feedback (tenant_id, update_time) WHERE pattern_id IS NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.message_feedback TO responsa_app;

-- The log. A row is what was committed together, deltas only or no deltas, as the frame that goes over the wire. No foreign key to or from it, so that a
-- partition can be dropped at once.
CREATE TABLE responsa.turn_event (
    turn_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1), -- of the first event in the row
    last_seq bigint NOT NULL,
    tenant_id text NOT NULL,
    deltas boolean NOT NULL,
    frame bytea NOT NULL,
    PRIMARY KEY (turn_id, seq),
    CHECK (last_seq >= seq)
) PARTITION BY RANGE (turn_id);
CREATE POLICY log_writes ON responsa.turn_event TO responsa_log USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON responsa.turn_event TO responsa_app;
GRANT SELECT, INSERT ON responsa.turn_event TO responsa_log;

-- The smallest UUIDv7 of an instant (RFC 9562: 48 bits of milliseconds come first).
CREATE FUNCTION responsa.first_uuid7(instant timestamptz) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN rpad(lpad(to_hex(floor(extract(epoch FROM instant) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
-- Makes the log's partitions, one a week from Monday (UTC), for the week before this one (clocks differ) up to the week of now() + ahead.
-- Returns how many were missing. A table is made and then attached: that never stops a reader or a writer.
CREATE FUNCTION responsa.make_turn_event_partitions(ahead interval) RETURNS int
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    AS $$
DECLARE
    week timestamptz := date_trunc('week', now()) - interval '7 days';
    partition text;
    made int := 0;
BEGIN
    IF ahead < interval '0' OR ahead > interval '400 days' THEN
        RAISE EXCEPTION 'partitions are made 0 to 400 days ahead' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock(hashtextextended('responsa.turn_event', 0)); -- two processes may start at once
    WHILE week <= now() + ahead LOOP
        partition := 'turn_event_' || to_char(week, 'YYYYMMDD');
        IF to_regclass('responsa.' || partition) IS NULL THEN
            EXECUTE format('CREATE TABLE responsa.%I (LIKE responsa.turn_event INCLUDING ALL)', partition);
            -- Reached through the parent alone, whose policies count then: nobody is granted anything here.
            EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', partition);
            EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', partition);
            EXECUTE format('ALTER TABLE responsa.turn_event ATTACH PARTITION responsa.%I FOR VALUES FROM (%L) TO (%L)', partition,
                responsa.first_uuid7(week), responsa.first_uuid7(week + interval '7 days'));
            made := made + 1;
        END IF;
        week := week + interval '7 days';
    END LOOP;
    RETURN made;
END
$$;
SELECT responsa.make_turn_event_partitions(interval '14 days');
-- Takes one partition out of the log, the oldest whose turns are all older than `older` and have all ended, and returns its name; NULL when there is none. This
-- week's and the last one's always stay (they would be made again). Readers and writers are stopped for the moment that it takes; where it would have to wait
-- for one of them, it gives up after the lock timeout (lock_not_available), and the caller tries again later. What was taken out is dropped by
-- drop_turn_events, in another transaction: removing the files takes longer and needs no lock on the log.
CREATE FUNCTION responsa.detach_turn_events(older interval) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '100ms'
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
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
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
REVOKE ALL ON FUNCTION responsa.first_uuid7, responsa.make_turn_event_partitions, responsa.detach_turn_events, responsa.drop_turn_events FROM public;
GRANT EXECUTE ON FUNCTION responsa.first_uuid7, responsa.make_turn_event_partitions, responsa.detach_turn_events, responsa.drop_turn_events TO responsa_log;

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
    state bytea NOT NULL,
    cost_micros bigint NOT NULL DEFAULT 0,
    unpriced_tokens bigint NOT NULL DEFAULT 0,
    update_time timestamptz NOT NULL DEFAULT now() -- when it was written last
) WITH (fillfactor = 50); -- each one takes the place of the one before
CREATE POLICY log_writes ON responsa.turn_checkpoint TO responsa_log USING (true) WITH CHECK (true);
-- Checkpoints that are too old to go on from are deleted; what they had counted goes to turn_spent.
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.turn_checkpoint TO responsa_log;
-- What a turn that is ended from outside has cost, and which passages a turn needs to go on.
GRANT SELECT (turn_id, tenant_id, state, embedding_tokens, input_tokens, output_tokens, cost_micros, unpriced_tokens), DELETE ON responsa.turn_checkpoint TO responsa_app;

-- The ledger: which tools a turn has called. The intent is committed before the call, so that no worker calls again what another one began.
CREATE TABLE responsa.turn_tool (
    turn_id uuid NOT NULL,
    call_id text NOT NULL CHECK (octet_length(call_id) BETWEEN 1 AND 200),
    tenant_id text NOT NULL,
    epoch bigint NOT NULL, -- under which it was begun
    tool text NOT NULL,
    arguments json NOT NULL, -- as they were written: jsonb would refuse a model's \u0000
    outcome text CHECK (outcome IN ('ok', 'error', 'unknown')), -- NULL: begun, nothing known since
    content text NOT NULL DEFAULT '' CHECK (octet_length(content) <= 32768),
    create_time timestamptz NOT NULL DEFAULT now(),
    end_time timestamptz,
    data json, -- as it was written, like the arguments; NULL if there is no data
    sources json,
    fault text NOT NULL DEFAULT '', -- the kind of its failure
    effect text CHECK (effect IN ('none', 'idempotent', 'once')), -- when the call was announced: the declaration may change before another worker continues the turn
    PRIMARY KEY (turn_id, call_id)
);
CREATE POLICY log_writes ON responsa.turn_tool TO responsa_log USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE, UPDATE (outcome, content, end_time, data, sources, fault) ON responsa.turn_tool TO responsa_log; -- deletes with the log, once it is old
GRANT SELECT (turn_id, tenant_id, call_id, tool, sources), DELETE ON responsa.turn_tool TO responsa_app; -- the sources for the check of citations

-- What workers spent on turns that were taken from them, once an epoch, and under the negative of their epoch what deleted checkpoints had counted. It is booked by the
-- tenant's own role, as a finish is.
CREATE TABLE responsa.turn_spent (
    turn_id uuid NOT NULL,
    epoch bigint NOT NULL,
    tenant_id text NOT NULL,
    embedding_tokens bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_micros bigint NOT NULL DEFAULT 0,
    unpriced_tokens bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (turn_id, epoch)
);
CREATE POLICY log_writes ON responsa.turn_spent FOR INSERT TO responsa_log WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON responsa.turn_spent TO responsa_app;
GRANT INSERT ON responsa.turn_spent TO responsa_log;

-- Through which processes watched turns are followed, and until when that counts.
CREATE TABLE responsa.turn_follower (
    turn_id uuid NOT NULL,
    process uuid NOT NULL,
    tenant_id text NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (turn_id, process)
);
CREATE POLICY log_writes ON responsa.turn_follower TO responsa_log USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE, UPDATE (until) ON responsa.turn_follower TO responsa_log;
GRANT SELECT, DELETE ON responsa.turn_follower TO responsa_app;

-- Answers that users share within their tenant (docs/adr/0080). Whoever knows the id may read the turn's question and answer. The turn never changes once it has ended, so nothing of it is copied: what is erased of the turn is erased of
-- the share, too.
CREATE TABLE responsa.share (
    id uuid PRIMARY KEY, -- random, unlike other ids
    tenant_id text NOT NULL,
    turn_id uuid NOT NULL UNIQUE REFERENCES responsa.turn (id) ON DELETE CASCADE,
    user_id uuid NOT NULL, -- who has asked, and shares
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz NOT NULL
);
CREATE INDEX share_by_creation ON responsa.share (user_id, create_time, id);
GRANT SELECT, INSERT, DELETE, UPDATE (expire_time) ON responsa.share TO responsa_app;

CREATE TABLE responsa.teacher (
    id uuid NOT NULL,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    display_name text NOT NULL CHECK (octet_length(display_name) BETWEEN 1 AND 200),
    persona text NOT NULL CHECK (octet_length(persona) BETWEEN 1 AND 8192),
    parameters jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(parameters) = 'object'),
    revision bigint NOT NULL DEFAULT 1, -- counts the changes; the etag is made of it
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, tenant_id) -- ids may be the caller's: two tenants may have the same sample teacher
);
CREATE INDEX teacher_by_creation ON responsa.teacher (tenant_id, create_time, id);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.teacher TO responsa_app;

SELECT responsa.isolate_tenants(
    'conversation', 'conversation_summary', 'turn', 'message', 'citation', 'message_feedback', 'turn_event', 'turn_checkpoint', 'turn_tool',
    'turn_spent', 'turn_follower', 'share', 'teacher');

-- All that shapes an agent's answers, as bytes. It belongs to the installation, not to a tenant: every server finds here what a turn was begun with.
CREATE TABLE responsa.agent_version (
    agent_id text NOT NULL CHECK (agent_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    version int NOT NULL CHECK (version >= 1),
    ordinal bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    engine int NOT NULL CHECK (engine >= 0), -- the number of the code that reads it
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    content bytea NOT NULL CHECK (octet_length(content) <= 4194304),
    create_time timestamptz NOT NULL DEFAULT now(),
    card text NOT NULL DEFAULT '' CHECK (octet_length(card) <= 4096), -- where a version came from that its owner created by call (docs/adr/0083)
    PRIMARY KEY (agent_id, version),
    UNIQUE (agent_id, sha256)
);
GRANT SELECT, INSERT ON responsa.agent_version TO responsa_app;
GRANT SELECT ON responsa.agent_version TO responsa_log;

-- Versions that outrank the files of their agents (docs/adr/0083). They belong to the installation.
-- The last row of an agent counts, as long as the agent's files give the version with this hash. To roll back deletes the last row.
CREATE TABLE responsa.agent_publication (
    ordinal bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id text NOT NULL,
    version int NOT NULL,
    files_sha256 bytea NOT NULL CHECK (length(files_sha256) IN (0, 32)), -- empty: whatever the files give
    create_time timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (agent_id, version) REFERENCES responsa.agent_version
);
CREATE INDEX agent_publication_of_agent ON responsa.agent_publication (agent_id, ordinal);
GRANT SELECT, INSERT, DELETE ON responsa.agent_publication TO responsa_app;

-- Whether people and programs are offered an agent, where an owner has said so. They belong to the installation.
CREATE TABLE responsa.agent_listing (
    agent_id text PRIMARY KEY,
    listed boolean NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.agent_listing TO responsa_app;

-- Experiments that split an agent's questions between two versions (docs/adr/0084). They belong to the installation.
CREATE TABLE responsa.experiment (
    id uuid PRIMARY KEY,
    agent text NOT NULL,
    baseline int NOT NULL,
    candidate int NOT NULL CHECK (candidate <> baseline),
    candidate_percent int NOT NULL CHECK (candidate_percent BETWEEN 1 AND 99),
    unit text NOT NULL CHECK (unit IN ('user', 'conversation')),
    metric text NOT NULL,
    guard text NOT NULL,
    guard_margin float8 NOT NULL CHECK (guard_margin >= 0),
    audited_in text NOT NULL, -- the tenant of the owner, whose audit log tells of the end
    create_time timestamptz NOT NULL DEFAULT now(),
    end_time timestamptz NOT NULL,
    stop_time timestamptz,
    stopped_by text CHECK (stopped_by IN ('owner', 'guard', 'version')),
    CHECK ((stop_time IS NULL) = (stopped_by IS NULL)),
    FOREIGN KEY (agent, baseline) REFERENCES responsa.agent_version,
    FOREIGN KEY (agent, candidate) REFERENCES responsa.agent_version
);
CREATE INDEX experiment_by_creation ON responsa.experiment (create_time, id);
GRANT SELECT, INSERT, UPDATE (stop_time, stopped_by) ON responsa.experiment TO responsa_app;

-- What was measured of each turn of an experiment. It names nobody: a unit is a hash of the experiment and of the user or conversation.
CREATE TABLE responsa.experiment_turn (
    turn_id uuid PRIMARY KEY REFERENCES responsa.turn (id) ON DELETE CASCADE,
    experiment_id uuid NOT NULL REFERENCES responsa.experiment (id),
    candidate boolean NOT NULL,
    unit bytea NOT NULL CHECK (length(unit) = 16),
    state text, -- NULL until the turn's end is counted
    milliseconds bigint,
    cost_micros bigint,
    unsupported int,
    rating text -- NULL: none
);
CREATE INDEX experiment_turn_of_experiment ON responsa.experiment_turn (experiment_id);
GRANT SELECT, INSERT, UPDATE (rating) ON responsa.experiment_turn TO responsa_app;
GRANT SELECT, UPDATE (state, milliseconds, cost_micros, unsupported) ON responsa.experiment_turn TO responsa_log;

-- The model that `default` stands for, if no setting of the operator names one (docs/providers.md). At most one row.
CREATE TABLE responsa.default_model (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    provider text NOT NULL CHECK (provider ~ '^([a-z0-9][a-z0-9-]{0,31})?$'), -- '': none
    model text NOT NULL CHECK (octet_length(model) <= 200),
    key_name text NOT NULL CHECK (octet_length(key_name) <= 64), -- of a secret file or a variable, never the key
    base_url text NOT NULL CHECK (octet_length(base_url) <= 2048),
    embedding text NOT NULL CHECK (octet_length(embedding) <= 200), -- the provider's model for new collections; '': the server's own
    sealed_key bytea NOT NULL CHECK (octet_length(sealed_key) <= 2048), -- the key that an owner has entered, under the installation's secret; '': none
    "window" integer NOT NULL CHECK ("window" BETWEEN 0 AND 10000000), -- in tokens; 0: not known
    judge text NOT NULL CHECK (octet_length(judge) <= 200), -- the provider's model that checks answers; '': none
    input_usd_micros bigint CHECK (input_usd_micros >= 0), -- of a million tokens that the model reads; NULL: an owner gave no price
    output_usd_micros bigint CHECK ((output_usd_micros IS NULL) = (input_usd_micros IS NULL) AND output_usd_micros >= 0),
    update_time timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON responsa.default_model TO responsa_app;

-- What was learned of models from their servers' refusals, for a day (docs/providers.md).
CREATE TABLE responsa.learned_model (
    base_url text NOT NULL CHECK (octet_length(base_url) <= 2048),
    model text NOT NULL CHECK (octet_length(model) <= 200),
    facts jsonb NOT NULL CHECK (octet_length(facts::text) <= 2048), -- numbers by name
    learn_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (base_url, model)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.learned_model TO responsa_app;
