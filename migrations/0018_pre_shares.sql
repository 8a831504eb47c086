-- Answers that users share within their tenant (docs/adr/0080), and conversations that are pinned or archived.

-- Whoever knows the id may read the turn's question and answer. The turn never changes once it has ended, so nothing of it is copied: what is erased of the turn is erased of
-- the share, too.
CREATE TABLE responsa.share (
    id uuid PRIMARY KEY, -- random, unlike other ids
    tenant_id text NOT NULL,
    turn_id uuid NOT NULL UNIQUE REFERENCES responsa.turn (id) ON DELETE CASCADE,
    user_id uuid NOT NULL, -- who has asked, and shares
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz NOT NULL
);
CREATE INDEX share_by_creation ON responsa.share (user_id, create_time, id);
ALTER TABLE responsa.share ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON responsa.share TO responsa_app
    USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant());
CREATE POLICY tenant_erasure ON responsa.share TO CURRENT_USER USING (tenant_id = responsa.current_tenant());
GRANT SELECT, INSERT, DELETE, UPDATE (expire_time) ON responsa.share TO responsa_app;

ALTER TABLE responsa.conversation
    ADD COLUMN pinned boolean NOT NULL DEFAULT false,
    ADD COLUMN archived boolean NOT NULL DEFAULT false,
    ADD COLUMN origin text NOT NULL DEFAULT '' CHECK (origin IN ('', 'page', 'program')); -- '': a server of an earlier release did not record it
GRANT UPDATE (pinned, archived) ON responsa.conversation TO responsa_app;
