-- The synonyms of a collection: a small file of its owner, which searches read. The hash lets a search see that it has read the file already.
SET LOCAL lock_timeout = '10s';
ALTER TABLE responsa.collection
    ADD COLUMN synonyms text NOT NULL DEFAULT '' CHECK (octet_length(synonyms) <= 32768),
    ADD COLUMN synonyms_sha256 bytea NOT NULL DEFAULT '' CHECK (length(synonyms_sha256) IN (0, 32)); -- '' for no synonyms
