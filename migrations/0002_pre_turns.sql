-- Conversations, their messages with citations, turns and the log of each turn's events.
CREATE TABLE responsa.conversation (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    title text NOT NULL CHECK (octet_length(title) BETWEEN 1 AND 200),
    titled boolean NOT NULL, -- false: the title only tells when it was made, and gives way to the first one that says more
    labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    request_id uuid, -- of CreateConversation, with what it asked for
    request jsonb,
    revision bigint NOT NULL DEFAULT 1, -- counts the changes; the etag is made of it
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    CHECK ((request_id IS NULL) = (request IS NULL)),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id)
);
CREATE UNIQUE INDEX conversation_request ON responsa.conversation (tenant_id, user_id, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX conversation_by_update ON responsa.conversation (tenant_id, user_id, update_time, id);
CREATE INDEX conversation_by_creation ON responsa.conversation (tenant_id, user_id, create_time, id);

-- A question and all that is kept of it but its events. No index on lease_until: it would stop in-page updates, which every append makes.
CREATE TABLE responsa.turn (
    id uuid PRIMARY KEY, -- UUIDv7: its time says in which partition its events are
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    request_id uuid,
    request bytea NOT NULL, -- the question as meant, as the frame codec writes it
    request_sha256 bytea NOT NULL CHECK (length(request_sha256) = 32),
    agent_version text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'running', 'answered', 'refused', 'failed')),
    owner uuid, -- the worker that has it
    epoch bigint NOT NULL DEFAULT 1, -- who writes under an older one writes nothing
    lease_until timestamptz,
    last_seq bigint NOT NULL CHECK (last_seq >= 1),
    terminal bytea, -- the terminal event's bytes, kept when its log is gone
    embedding_tokens bigint NOT NULL DEFAULT 0 CHECK (embedding_tokens >= 0),
    create_time timestamptz NOT NULL DEFAULT now(),
    end_time timestamptz,
    CHECK ((state IN ('pending', 'running')) = (terminal IS NULL)),
    CHECK ((terminal IS NULL) = (end_time IS NULL)),
    CHECK (state <> 'running' OR (owner IS NOT NULL AND lease_until IS NOT NULL)),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES responsa.conversation (tenant_id, id)
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX turn_request ON responsa.turn (tenant_id, user_id, request_id) WHERE request_id IS NOT NULL;
-- One turn at a time in a conversation. The sweep walks this index too: it holds nothing but turns at work.
CREATE UNIQUE INDEX turn_active ON responsa.turn (conversation_id) WHERE state IN ('pending', 'running');
CREATE INDEX turn_by_creation ON responsa.turn (tenant_id, user_id, create_time, id);
CREATE INDEX turn_of_conversation ON responsa.turn (tenant_id, conversation_id);

CREATE TABLE responsa.message (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    conversation_id uuid NOT NULL,
    turn_id uuid NOT NULL,
    speaker text NOT NULL CHECK (speaker IN ('user', 'assistant')),
    content text NOT NULL,
    refusal text CHECK (refusal IN ('no_support')),
    create_time timestamptz NOT NULL DEFAULT now(),
    UNIQUE (turn_id, speaker),
    UNIQUE (tenant_id, id),
    CHECK (refusal IS NULL OR speaker = 'assistant'),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES responsa.conversation (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX message_of_conversation ON responsa.message (tenant_id, conversation_id, create_time, id);

-- What an answer stands on. No foreign key to passages or documents: a citation outlives its source.
CREATE TABLE responsa.citation (
    message_id uuid NOT NULL,
    place smallint NOT NULL CHECK (place BETWEEN 0 AND 23),
    tenant_id text NOT NULL,
    passage_id uuid NOT NULL,
    document_id uuid NOT NULL,
    version int NOT NULL CHECK (version >= 1),
    title text NOT NULL,
    uri text NOT NULL,
    source_start bigint NOT NULL CHECK (source_start >= 0),
    source_end bigint NOT NULL,
    quote text NOT NULL CHECK (octet_length(quote) <= 1024),
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    answer_start int NOT NULL CHECK (answer_start >= 0),
    answer_end int NOT NULL,
    score double precision NOT NULL,
    PRIMARY KEY (message_id, place),
    CHECK (source_start < source_end AND answer_start < answer_end),
    FOREIGN KEY (tenant_id, message_id) REFERENCES responsa.message (tenant_id, id) ON DELETE CASCADE
);
-- Which versions of a document are still cited?
CREATE INDEX citation_of_document ON responsa.citation (tenant_id, document_id, version);

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

-- The smallest UUIDv7 of an instant (RFC 9562: 48 bits of milliseconds come first).
CREATE FUNCTION responsa.first_uuid7(instant timestamptz) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN rpad(lpad(to_hex(floor(extract(epoch FROM instant) * 1000)::bigint), 12, '0'), 32, '0')::uuid;

-- Makes the log's partitions, one a week from Monday (UTC), for the week before this one (clocks differ) up to the week of now() + ahead.
-- Returns how many were missing. A table is made and then attached: that never stops a reader or a writer.
CREATE FUNCTION responsa.make_turn_event_partitions(ahead interval) RETURNS int
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' SET timezone = 'UTC'
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

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['conversation', 'turn', 'message', 'citation', 'turn_event'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
    END LOOP;
    -- The writer of the log, the sweep and the pruning work over all tenants, on these two tables alone.
    FOREACH name IN ARRAY ARRAY['turn', 'turn_event'] LOOP
        EXECUTE format('CREATE POLICY log_writes ON responsa.%I TO responsa_log USING (true) WITH CHECK (true)', name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, DELETE ON responsa.conversation, responsa.turn, responsa.turn_event TO responsa_app;
GRANT UPDATE (title, titled, labels, revision, update_time) ON responsa.conversation TO responsa_app;
-- Finish is one transaction over the turn and its conversation; it takes the tenant from the turn's row and is the app role's work.
GRANT UPDATE (state, owner, epoch, lease_until, last_seq, terminal, embedding_tokens, end_time) ON responsa.turn TO responsa_app;
GRANT SELECT, INSERT ON responsa.message, responsa.citation TO responsa_app;
GRANT SELECT ON responsa.turn TO responsa_log;
GRANT UPDATE (state, owner, epoch, lease_until, last_seq, terminal, end_time) ON responsa.turn TO responsa_log;
GRANT SELECT, INSERT ON responsa.turn_event TO responsa_log;
REVOKE ALL ON FUNCTION responsa.make_turn_event_partitions(interval), responsa.first_uuid7(timestamptz) FROM public;
GRANT EXECUTE ON FUNCTION responsa.make_turn_event_partitions(interval) TO responsa_log;
