-- Teachers, summaries of conversations, the versions of agents, and what turns cost in money.
-- Whoever waits for a lock on a table keeps all others waiting behind it: rather this fails, and is begun anew.
SET LOCAL lock_timeout = '10s';

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

-- What became of a conversation's older messages. Derived from messages alone, so nothing of a failed turn is in it.
CREATE TABLE responsa.conversation_summary (
    conversation_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    through_message uuid NOT NULL, -- the last message that it covers
    summary text NOT NULL CHECK (octet_length(summary) <= 4096),
    update_time timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES responsa.conversation (tenant_id, id) ON DELETE CASCADE
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['teacher', 'conversation_summary'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.teacher, responsa.conversation_summary TO responsa_app;

-- All that shapes an agent's answers, as bytes. Of the installation, no tenant's data: every server finds here what a turn was begun with.
CREATE TABLE responsa.agent_version (
    agent_id text NOT NULL CHECK (agent_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    version int NOT NULL CHECK (version >= 1),
    ordinal bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    engine int NOT NULL CHECK (engine >= 0), -- the number of the code that reads it; 0: code of a release before configurations
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    content bytea NOT NULL CHECK (octet_length(content) <= 4194304),
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_id, version),
    UNIQUE (agent_id, sha256)
);
GRANT SELECT, INSERT ON responsa.agent_version TO responsa_app;
GRANT SELECT ON responsa.agent_version TO responsa_log;

-- Agents of the releases before were code, and their only version was 1: where turns say so, that number is taken. The default one's is taken wherever such a
-- release was, since its servers may still write turns: where a migration is older than this connection. The owner sees the ended ones too for as
-- long as row security is not forced; the table is locked by what follows in any case.
ALTER TABLE responsa.turn NO FORCE ROW LEVEL SECURITY;
INSERT INTO responsa.agent_version (agent_id, version, engine, sha256, content)
    SELECT DISTINCT split_part(agent_version, '/', 2), 1, 0, sha256(''::bytea), ''::bytea FROM responsa.turn
    WHERE agent_version ~ '^agents/[a-z0-9][a-z0-9-]{0,62}/versions/1$'
    UNION
    SELECT 'default', 1, 0, sha256(''::bytea), ''::bytea FROM responsa.migration
    WHERE apply_time < (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid());
ALTER TABLE responsa.turn FORCE ROW LEVEL SECURITY;

-- Money in millionths of a US dollar; unpriced_tokens: of models whose price nobody knows. The rows that are there are not read for the constraints: the next
-- migration does that, while they can be read and written.
ALTER TABLE responsa.turn
    ADD COLUMN cost_micros bigint NOT NULL DEFAULT 0,
    ADD COLUMN unpriced_tokens bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT turn_cost_micros_check CHECK (cost_micros >= 0) NOT VALID,
    ADD CONSTRAINT turn_unpriced_tokens_check CHECK (unpriced_tokens >= 0) NOT VALID;
ALTER TABLE responsa.turn_checkpoint
    ADD COLUMN cost_micros bigint NOT NULL DEFAULT 0,
    ADD COLUMN unpriced_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN update_time timestamptz NOT NULL DEFAULT now(); -- when it was written last
ALTER TABLE responsa.turn_spent
    ADD COLUMN cost_micros bigint NOT NULL DEFAULT 0,
    ADD COLUMN unpriced_tokens bigint NOT NULL DEFAULT 0;
GRANT UPDATE (cost_micros, unpriced_tokens) ON responsa.turn TO responsa_app;
GRANT SELECT (cost_micros, unpriced_tokens) ON responsa.turn_checkpoint TO responsa_app;
-- Checkpoints that are too old to go on from. What they had counted stays, under the negative of their epoch.
GRANT DELETE ON responsa.turn_checkpoint TO responsa_log;
GRANT INSERT ON responsa.turn_spent TO responsa_log;
CREATE POLICY log_writes ON responsa.turn_spent FOR INSERT TO responsa_log WITH CHECK (true);

ALTER TABLE responsa.message
    DROP CONSTRAINT message_refusal_check,
    ADD CONSTRAINT message_refusal_check CHECK (refusal IN ('no_support', 'out_of_scope', 'unsafe', 'budget')) NOT VALID;
