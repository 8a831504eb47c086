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
