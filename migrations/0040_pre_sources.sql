-- Sources: mappings from the rows of a database to documents.
SET LOCAL lock_timeout = '10s';

-- connection, collection: what the mapping names. No reference to the collection, because several people may call their collections alike, and the collection may be deleted.
CREATE TABLE responsa.source (
    id text NOT NULL CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    display_name text NOT NULL DEFAULT '' CHECK (octet_length(display_name) <= 200),
    mapping text NOT NULL CHECK (octet_length(mapping) BETWEEN 1 AND 131072),
    connection text NOT NULL,
    collection text NOT NULL,
    revision bigint NOT NULL DEFAULT 1, -- counts the changes; the etag is made of it
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);
ALTER TABLE responsa.source ENABLE ROW LEVEL SECURITY;
ALTER TABLE responsa.source FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.source TO responsa_app
    USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.source TO responsa_app;
CREATE POLICY tenant_erasure ON responsa.source TO CURRENT_USER USING (tenant_id = responsa.current_tenant());
