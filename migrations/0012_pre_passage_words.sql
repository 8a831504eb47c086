-- The words of a passage in the compact form of `domain/passage_words.py`, so that a search splits no text into terms. Rows of earlier releases have NULL until a job has
-- analysed them; the first byte is the version of the form. Uncompressed, because a search reads about a hundred of them.
ALTER TABLE responsa.passage ADD COLUMN words bytea;
ALTER TABLE responsa.passage ALTER COLUMN words SET STORAGE EXTERNAL;
CREATE INDEX passage_without_words ON responsa.passage (tenant_id, id) WHERE live AND coalesce(get_byte(words, 0), 0) <> 1;
