-- What is counted for administrators and users (docs/adr/0071): events that wait to be counted, and their sums by hour.

-- Whether the turn's end was written together with its row in usage_event. Turns that an earlier release ended get that row from the backfill.
ALTER TABLE responsa.turn ADD COLUMN counted boolean NOT NULL DEFAULT false;
-- Empty once the backfill is done: the end of a turn sets `counted`, too.
CREATE INDEX turn_uncounted ON responsa.turn (user_id, create_time, id) WHERE end_time IS NOT NULL AND NOT counted;
GRANT UPDATE (counted) ON responsa.turn TO responsa_app, responsa_log;
-- The same of what lost workers have used. The backfill of a turn adds what is not counted.
ALTER TABLE responsa.turn_spent ADD COLUMN counted boolean NOT NULL DEFAULT false;
CREATE POLICY log_reads ON responsa.turn_spent FOR SELECT TO responsa_log USING (true);
GRANT SELECT ON responsa.turn_spent TO responsa_log;
GRANT SELECT (tool) ON responsa.turn_tool TO responsa_app;

-- What has happened and is in no sum yet. Each row is written in the transaction of what it reports, and deleted in the transaction that adds it to the sums. So every
-- event is counted once, whatever the order in which transactions commit. No index: the table is nearly empty, and the end of a turn must stay cheap.
CREATE TABLE responsa.usage_event (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL, -- nil: an erased user
    time timestamptz NOT NULL, -- of a turn: when it was asked
    -- The end of a turn; spent: what workers that lost a turn have used for it
    kind text NOT NULL CHECK (kind IN ('answered', 'refused', 'failed', 'cancelled', 'spent', 'search', 'upload', 'sign_in')),
    agent text NOT NULL DEFAULT '',
    model text NOT NULL DEFAULT '', -- the writer of the answer
    collection text NOT NULL DEFAULT '',
    turn_id uuid,
    tools text[] NOT NULL DEFAULT '{}', -- one entry for each call
    embedding_tokens bigint NOT NULL DEFAULT 0,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    cost_micros bigint NOT NULL DEFAULT 0,
    unpriced_tokens bigint NOT NULL DEFAULT 0,
    milliseconds bigint NOT NULL DEFAULT 0, -- from the question to the end
    refusal text NOT NULL DEFAULT '',
    citations int NOT NULL DEFAULT 0,
    unsupported int NOT NULL DEFAULT 0, -- sentences that name a passage that does not support them
    fallbacks text[] NOT NULL DEFAULT '{}' -- the kinds, one entry for each fallback
);
CREATE POLICY log_writes ON responsa.usage_event TO responsa_log USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (user_id, turn_id) ON responsa.usage_event TO responsa_app;
GRANT SELECT, INSERT, DELETE ON responsa.usage_event TO responsa_log;

-- The sums of an hour (UTC). The rows of the nil UUID are those of the whole tenant, so they outlive the erasing of users.
CREATE TABLE responsa.usage_hour (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    hour timestamptz NOT NULL,
    agent text NOT NULL,
    model text NOT NULL,
    collection text NOT NULL,
    tool text NOT NULL, -- of the rows that count tool calls, and nothing else
    answered bigint NOT NULL,
    refused bigint NOT NULL,
    failed bigint NOT NULL,
    cancelled bigint NOT NULL,
    searches bigint NOT NULL,
    uploads bigint NOT NULL,
    sign_ins bigint NOT NULL,
    tool_calls bigint NOT NULL,
    embedding_tokens bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_micros bigint NOT NULL,
    unpriced_tokens bigint NOT NULL,
    PRIMARY KEY (user_id, hour, tenant_id, agent, model, collection, tool)
);
CREATE POLICY log_writes ON responsa.usage_hour TO responsa_log USING (true) WITH CHECK (true);
GRANT SELECT, DELETE ON responsa.usage_hour TO responsa_app;
GRANT SELECT, INSERT, UPDATE ON responsa.usage_hour TO responsa_log;

-- How well an agent's turns of an hour went. The label says what is counted of the measure: the reason of refusals, the kind of fallbacks, and of latencies the bucket b, which
-- has the answers and refusals that took 2^(b/4) to 2^((b+1)/4) milliseconds.
CREATE TABLE responsa.quality_hour (
    tenant_id text NOT NULL,
    hour timestamptz NOT NULL,
    agent text NOT NULL,
    measure text NOT NULL CHECK (measure IN ('turns', 'refusals', 'fallbacks', 'citations', 'cited_answers', 'unsupported_sentences', 'latency')),
    label text NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (tenant_id, hour, agent, measure, label)
);
CREATE POLICY log_writes ON responsa.quality_hour TO responsa_log USING (true) WITH CHECK (true);
GRANT SELECT ON responsa.quality_hour TO responsa_app;
GRANT SELECT, INSERT, UPDATE ON responsa.quality_hour TO responsa_log;

-- What administrators did about feedback. New feedback on the same answer is open again.
ALTER TABLE responsa.message_feedback
    ADD COLUMN state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done')),
    ADD COLUMN note text NOT NULL DEFAULT '' CHECK (octet_length(note) <= 2048),
    ADD COLUMN resolver_id uuid, -- who changed the state last; NULL: nobody, or an erased user
    ADD COLUMN resolve_time timestamptz;
CREATE INDEX message_feedback_by_update ON responsa.message_feedback (tenant_id, update_time, message_id);
CREATE INDEX message_feedback_of_resolver ON responsa.message_feedback (tenant_id, resolver_id) WHERE resolver_id IS NOT NULL;

-- Whether administrators may read the texts of questions.
ALTER TABLE responsa.tenant ADD COLUMN question_texts boolean NOT NULL DEFAULT false;
GRANT UPDATE (question_texts) ON responsa.tenant TO responsa_app;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['usage_event', 'usage_hour', 'quality_hour'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
        EXECUTE format('CREATE POLICY tenant_erasure ON responsa.%I TO CURRENT_USER USING (tenant_id = responsa.current_tenant())', name);
    END LOOP;
END
$$;
