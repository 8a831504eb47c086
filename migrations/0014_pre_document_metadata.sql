-- What a file says of itself, what its owner says of it, and what filters read.
SET LOCAL lock_timeout = '10s';

-- labels and metadata belong to the document, whatever its version. The other columns are those of the version that is searched, like title and uri.
ALTER TABLE responsa.document
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    ADD COLUMN kept_title text NOT NULL DEFAULT '', -- as an update set it; uploads that state no title keep it
    ADD COLUMN language text NOT NULL DEFAULT '',
    ADD COLUMN author text NOT NULL DEFAULT '',
    ADD COLUMN date timestamptz,
    ADD COLUMN summary text NOT NULL DEFAULT '',
    ADD COLUMN keywords text[] NOT NULL DEFAULT '{}';
ALTER TABLE responsa.document_version
    ADD COLUMN author text NOT NULL DEFAULT '', -- as the file states it, like date
    ADD COLUMN date timestamptz,
    ADD COLUMN summary text NOT NULL DEFAULT '', -- sentences of the canonical text, unless a model wrote it
    ADD COLUMN keywords text[] NOT NULL DEFAULT '{}';

-- While row security is forced, the owner sees no rows. The tables are locked by the statements above in any case.
ALTER TABLE responsa.document NO FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.document_version NO FORCE ROW LEVEL SECURITY;
UPDATE responsa.document AS d SET language = v.language
FROM responsa.document_version AS v
WHERE v.tenant_id = d.tenant_id AND v.document_id = d.id AND v.version = d.version AND v.language <> '';
ALTER TABLE responsa.document_version FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.document FORCE ROW LEVEL SECURITY;

CREATE INDEX document_titled ON responsa.document (tenant_id, collection_id, title, id);
CREATE INDEX document_sized ON responsa.document (tenant_id, collection_id, size_bytes, id);
