-- Versions that outrank the files of their agents (docs/adr/0083). They belong to the installation.

-- The last row of an agent counts, as long as the agent's files give the version with this hash. To roll back deletes the last row.
CREATE TABLE responsa.agent_publication (
    ordinal bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id text NOT NULL,
    version int NOT NULL,
    files_sha256 bytea NOT NULL CHECK (length(files_sha256) = 32),
    create_time timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (agent_id, version) REFERENCES responsa.agent_version
);
CREATE INDEX agent_publication_of_agent ON responsa.agent_publication (agent_id, ordinal);
GRANT SELECT, INSERT, DELETE ON responsa.agent_publication TO responsa_app;

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
