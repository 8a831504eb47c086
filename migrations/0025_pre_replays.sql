-- Replays: old questions that another version of their agent answers (docs/replay.md). A replay is an operation. Its stage is 'embedding' while it runs, its passages are questions, and its
-- counts are sums of the comparison.

ALTER TABLE responsa.operation
    DROP CONSTRAINT operation_kind_check,
    ADD CONSTRAINT operation_kind_check CHECK (kind IN ('ingest', 'reindex', 'sync', 'replay')),
    ADD COLUMN agent_version text NOT NULL DEFAULT '' CONSTRAINT operation_agent_version_check CHECK ((kind = 'replay') = (agent_version <> '')),
    ADD COLUMN max_cost_micros bigint NOT NULL DEFAULT 0 CHECK (max_cost_micros >= 0); -- 0: no limit

CREATE TABLE responsa.replayed_question (
    operation_id uuid NOT NULL REFERENCES responsa.operation (id) ON DELETE CASCADE,
    place int NOT NULL,
    tenant_id text NOT NULL,
    turn_id uuid REFERENCES responsa.turn (id) ON DELETE CASCADE, -- NULL: `question` is the text
    question text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'replayed', 'user_gone', 'cost_limit')),
    before jsonb, -- how the turn ended, and how the version did: state, reason, citations, cost_micros, milliseconds
    after jsonb,
    citations_kept int NOT NULL DEFAULT 0,
    citations_lost int NOT NULL DEFAULT 0,
    citations_new int NOT NULL DEFAULT 0,
    unrecorded_tool_calls int NOT NULL DEFAULT 0,
    PRIMARY KEY (operation_id, place)
);
CREATE INDEX replayed_question_of_turn ON responsa.replayed_question (turn_id) WHERE turn_id IS NOT NULL;
ALTER TABLE responsa.replayed_question ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.replayed_question TO responsa_app
    USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant());
CREATE POLICY tenant_erasure ON responsa.replayed_question TO CURRENT_USER USING (tenant_id = responsa.current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.replayed_question TO responsa_app;
