-- Programs that people connect to their accounts with OAuth (docs/adr/0107).

-- Programs that administrators have registered. The id is their client_id.
CREATE TABLE responsa.program (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    display_name text NOT NULL CHECK (octet_length(display_name) BETWEEN 1 AND 200),
    redirect_uris text[] NOT NULL CHECK (cardinality(redirect_uris) BETWEEN 1 AND 10),
    revision bigint NOT NULL DEFAULT 1, -- counts the changes; the etag is made of it
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX program_by_creation ON responsa.program (tenant_id, create_time, id);
ALTER TABLE responsa.program ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.program TO responsa_app
    USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant());
CREATE POLICY tenant_erasure ON responsa.program TO CURRENT_USER USING (tenant_id = responsa.current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON responsa.program TO responsa_app;

-- A session of the kind 'tokens' may be a program's. Its first refresh token is the authorisation code, which is exchanged with these values within a minute.
ALTER TABLE responsa.session
    ADD COLUMN client_id text CHECK (length(client_id) BETWEEN 1 AND 2048), -- NULL: not a program's
    ADD COLUMN client_name text,
    ADD COLUMN redirect_uri text,
    ADD COLUMN code_challenge text CHECK (length(code_challenge) = 43), -- S256 (RFC 7636)
    ADD COLUMN scopes text[],
    ADD COLUMN resource text, -- the audience of its access tokens (RFC 8707)
    ADD COLUMN program_id uuid REFERENCES responsa.program (id) ON DELETE CASCADE, -- the registered program; NULL for others
    ADD CHECK (num_nulls(client_id, client_name, redirect_uri, code_challenge, scopes, resource) IN (0, 6));
CREATE INDEX session_of_program ON responsa.session (program_id) WHERE program_id IS NOT NULL;
