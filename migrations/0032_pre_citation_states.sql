-- What was checked of a citation, and which sentences of an answer nothing confirms (ADR 0094).

ALTER TABLE responsa.citation ADD COLUMN state text NOT NULL DEFAULT '' CHECK (state IN ('', 'quoted', 'supported')); -- '': an earlier release stored the citation
-- [{answer: [first byte, end], passage_id, document_id, version} or {answer, call_id, tool, source_index, fetch_time} or {answer}, …]; NULL: none. Always read with the message, as a whole.
ALTER TABLE responsa.message ADD COLUMN unconfirmed json;
GRANT UPDATE (unconfirmed) ON responsa.message TO responsa_app;
