-- What is counted for administrators and users (docs/adr/0071): events that wait to be counted, their sums by hour and by day, and questions that are grouped by meaning
-- (docs/insight.md).

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
    fallbacks text[] NOT NULL DEFAULT '{}', -- the kinds, one entry for each fallback
    create_time timestamptz NOT NULL DEFAULT now(), -- when the transaction that wrote it began: everything that was committed before the oldest of them is counted
    first_words_milliseconds bigint -- from the question on; NULL: not known
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

-- How well an agent's turns of an hour went. The label says what is counted of the measure: the reason of refusals, the kind of fallbacks, and of latencies and first words the bucket b, which
-- has the answers and refusals that took 2^(b/4) to 2^((b+1)/4) milliseconds.
CREATE TABLE responsa.quality_hour (
    tenant_id text NOT NULL,
    hour timestamptz NOT NULL,
    agent text NOT NULL,
    measure text NOT NULL CHECK (measure IN ('turns', 'refusals', 'fallbacks', 'citations', 'cited_answers', 'unsupported_sentences', 'latency', 'first_words')),
    label text NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (tenant_id, hour, agent, measure, label)
);
CREATE POLICY log_writes ON responsa.quality_hour TO responsa_log USING (true) WITH CHECK (true);
GRANT SELECT ON responsa.quality_hour TO responsa_app;
GRANT SELECT, INSERT, UPDATE ON responsa.quality_hour TO responsa_log;

-- The sums of a day (UTC), which are written with those of its hours. A report over a year reads few rows of hours.
CREATE TABLE responsa.usage_day (LIKE responsa.usage_hour INCLUDING ALL);
ALTER TABLE responsa.usage_day RENAME COLUMN hour TO day;
CREATE TABLE responsa.quality_day (LIKE responsa.quality_hour INCLUDING ALL);
ALTER TABLE responsa.quality_day RENAME COLUMN hour TO day;
GRANT SELECT, DELETE ON responsa.usage_day TO responsa_app;
GRANT SELECT ON responsa.quality_day TO responsa_app;
GRANT SELECT, INSERT, UPDATE ON responsa.usage_day, responsa.quality_day TO responsa_log;

-- Ends of turns that are in the sums, and whose questions have no pattern yet. Like usage_event, a row is deleted in the transaction that counts it.
CREATE TABLE responsa.question_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    user_id uuid NOT NULL, -- nil: an erased user
    turn_id uuid, -- NULL: of an erased user
    time timestamptz NOT NULL, -- when it was asked
    state text NOT NULL CHECK (state IN ('answered', 'no_support', 'refused', 'failed', 'cancelled')), -- refused: for another reason than no_support
    citations int NOT NULL,
    unsupported int NOT NULL,
    create_time timestamptz NOT NULL -- of the row in usage_event
);
CREATE INDEX question_event_of_tenant ON responsa.question_event (tenant_id, id);
CREATE POLICY log_writes ON responsa.question_event TO responsa_log USING (true) WITH CHECK (true);
GRANT SELECT, DELETE, UPDATE (user_id, turn_id) ON responsa.question_event TO responsa_app;
GRANT SELECT, INSERT ON responsa.question_event TO responsa_log;

-- Questions with similar vectors. No text of a question is here, but the title, which a model writes if the tenant allows texts.
CREATE TABLE responsa.question_pattern (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    embedding text NOT NULL, -- the model of the vectors; those of another model are not compared
    vector bytea NOT NULL, -- the sum of its questions' vectors, float32 in little-endian order
    central bytea NOT NULL, -- the vector of the question that is closest to the others; '' if that is its only one, and `vector` says it
    turns bigint NOT NULL, -- that were ever counted in it
    last_time timestamptz NOT NULL,
    title text NOT NULL DEFAULT '' CHECK (octet_length(title) <= 200),
    title_time timestamptz, -- when a model was asked for the title last
    -- What administrators do about it.
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(), -- when an administrator changed it last
    revision int NOT NULL DEFAULT 1, -- increases with every change of what follows
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'reopened')), -- reopened: a later question has no answer
    note text NOT NULL DEFAULT '' CHECK (octet_length(note) <= 2048),
    assignee_id uuid, -- NULL: nobody, or an erased user
    resolver_id uuid, -- who changed the state last; NULL: nobody, or an erased user
    resolve_time timestamptz, -- when that was
    FOREIGN KEY (tenant_id, assignee_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE SET NULL (assignee_id),
    FOREIGN KEY (tenant_id, resolver_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE SET NULL (resolver_id)
);
CREATE INDEX question_pattern_of_tenant ON responsa.question_pattern (tenant_id, turns, last_time);
CREATE INDEX question_pattern_untitled ON responsa.question_pattern (tenant_id) WHERE title = '' AND turns >= 2;
CREATE POLICY log_reads ON responsa.question_pattern FOR SELECT TO responsa_log USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.question_pattern TO responsa_app;
GRANT SELECT (tenant_id, turns, title, title_time) ON responsa.question_pattern TO responsa_log;

-- The pattern of a turn; turns that fit none have no row.
CREATE TABLE responsa.turn_pattern (
    turn_id uuid PRIMARY KEY REFERENCES responsa.turn (id) ON DELETE CASCADE,
    tenant_id text NOT NULL,
    pattern_id uuid NOT NULL,
    state text NOT NULL, -- as in question_event
    time timestamptz NOT NULL,
    central boolean NOT NULL DEFAULT false, -- whether its question stands for the pattern
    titled boolean NOT NULL DEFAULT false -- whether the title was made from its question, too
);
CREATE INDEX turn_pattern_of_pattern ON responsa.turn_pattern (pattern_id, state, time);
CREATE UNIQUE INDEX turn_pattern_central ON responsa.turn_pattern (pattern_id) WHERE central;
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.turn_pattern TO responsa_app;

-- The sums of a pattern on a day and in a month (UTC). The nil UUID stands for the questions that are in no pattern. They outlive turns.
CREATE TABLE responsa.pattern_day (
    tenant_id text NOT NULL,
    monthly boolean NOT NULL,
    day timestamptz NOT NULL, -- of a month: the first
    pattern_id uuid NOT NULL,
    answered int NOT NULL,
    refused int NOT NULL,
    no_support int NOT NULL, -- of those that were refused
    failed int NOT NULL,
    cancelled int NOT NULL,
    cited_answers int NOT NULL,
    citations int NOT NULL,
    unsupported int NOT NULL,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, monthly, day, pattern_id)
);
CREATE INDEX pattern_day_of_pattern ON responsa.pattern_day (pattern_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.pattern_day TO responsa_app;

-- Patterns that have lost turns. A title that was made from one of them is hidden at once; the vectors are computed again without them.
CREATE TABLE responsa.pattern_loss (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    pattern_id uuid NOT NULL,
    titled boolean NOT NULL
);
CREATE INDEX pattern_loss_of_pattern ON responsa.pattern_loss (pattern_id);
CREATE INDEX pattern_loss_of_tenant ON responsa.pattern_loss (tenant_id);
CREATE POLICY log_reads ON responsa.pattern_loss FOR SELECT TO responsa_log USING (true);
GRANT SELECT, INSERT, DELETE ON responsa.pattern_loss TO responsa_app;
GRANT SELECT (tenant_id) ON responsa.pattern_loss TO responsa_log;
-- A row, and no mark in question_pattern: deletions of several turns would wait for each other.
CREATE FUNCTION responsa.note_pattern_loss() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- The patterns of a tenant that is being erased end with it.
    INSERT INTO responsa.pattern_loss (tenant_id, pattern_id, titled)
    SELECT OLD.tenant_id, OLD.pattern_id, OLD.titled
    WHERE NOT EXISTS (SELECT FROM responsa.tenant WHERE id = OLD.tenant_id AND erase_time IS NOT NULL);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION responsa.note_pattern_loss FROM public;
CREATE TRIGGER note_pattern_loss AFTER DELETE ON responsa.turn_pattern FOR EACH ROW EXECUTE FUNCTION responsa.note_pattern_loss();

CREATE POLICY log_writes ON responsa.usage_day TO responsa_log USING (true) WITH CHECK (true);
CREATE POLICY log_writes ON responsa.quality_day TO responsa_log USING (true) WITH CHECK (true);
SELECT responsa.isolate_tenants(
    'usage_event', 'usage_hour', 'quality_hour', 'usage_day', 'quality_day', 'question_event', 'question_pattern', 'turn_pattern', 'pattern_day',
    'pattern_loss');
