-- Results of tools are larger, and have data, sources and the kind of their failure.
SET LOCAL lock_timeout = '10s';

ALTER TABLE responsa.turn_tool
    DROP CONSTRAINT turn_tool_content_check,
    ADD CONSTRAINT turn_tool_content_check CHECK (octet_length(content) <= 32768), -- until now, only the testing agent has written rows, so the check is fast
    ADD COLUMN data json, -- as it was written, like the arguments; NULL: none
    ADD COLUMN sources json, -- NULL: none
    ADD COLUMN fault text NOT NULL DEFAULT '';

GRANT UPDATE (data, sources, fault) ON responsa.turn_tool TO responsa_log;
