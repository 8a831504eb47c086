-- Versions that read the bytes of an earlier version again, with another parser.
SET LOCAL lock_timeout = '10s';

-- The version whose bytes this one reads again. If the text is the same, this version is removed and the operation ends as unchanged. NULL for all other versions.
ALTER TABLE responsa.document_version ADD COLUMN reread_of int CHECK (reread_of < version);
