-- Answers that quote what a tool returned. Such a citation names no document; the text of its source stays in the ledger of tools, as long as the turn's events.
SET LOCAL lock_timeout = '10s';

-- source_index: the position of the source among the call's sources, from 0. One statement, because it reads the table once, and holds it meanwhile.
ALTER TABLE responsa.citation
    ALTER COLUMN passage_id DROP NOT NULL,
    ALTER COLUMN document_id DROP NOT NULL,
    ALTER COLUMN version DROP NOT NULL,
    ADD COLUMN call_id text,
    ADD COLUMN tool text,
    ADD COLUMN source_index smallint CHECK (source_index >= 0),
    ADD COLUMN fetch_time timestamptz,
    ADD CONSTRAINT citation_origin CHECK (
        num_nulls(passage_id, document_id, version) = 0 AND num_nonnulls(call_id, tool, source_index, fetch_time) = 0
        OR num_nonnulls(passage_id, document_id, version) = 0 AND num_nulls(call_id, tool, source_index, fetch_time) = 0);

-- For the check of citations.
GRANT SELECT (call_id, sources) ON responsa.turn_tool TO responsa_app;
