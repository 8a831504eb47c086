-- Where a passage, or the text near it, gives instructions to an assistant (`text/instructing.py`), so that a question reads no text with patterns: the version of the patterns, then the
-- first byte and the end of each range. NULL until a job has analysed the passage.
ALTER TABLE responsa.passage ADD COLUMN instructing int[];
DROP INDEX responsa.passage_without_words;
CREATE INDEX passage_not_analysed ON responsa.passage (tenant_id, id)
    WHERE live AND (coalesce(get_byte(words, 0), 0) <> 1 OR coalesce(instructing[1], 0) <> 1);
