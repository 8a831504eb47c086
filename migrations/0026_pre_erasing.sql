-- The erasing of users with all that belongs to them.
SET LOCAL lock_timeout = '10s';

-- One row for each deleted user. The row outlives the user, so it names the user by the id alone, and has no foreign key to users.
CREATE TABLE responsa.erasure (
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    user_id uuid NOT NULL,
    heir_id uuid, -- receives the shared collections; NULL: they are erased too
    begin_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    sweep_time timestamptz, -- when all of the user was gone; turns of others that were accepted earlier may still quote the documents
    end_time timestamptz,
    receipt jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(receipt) = 'object'), -- how much of each kind was erased
    PRIMARY KEY (tenant_id, user_id),
    CHECK (end_time IS NULL OR sweep_time IS NOT NULL)
);

-- The documents whose quotes are being withdrawn from answers. Empty while no erasure is in progress.
CREATE TABLE responsa.erased_document (
    tenant_id text NOT NULL,
    document_id uuid NOT NULL,
    user_id uuid NOT NULL, -- of the erasure
    create_time timestamptz NOT NULL, -- of the document: no earlier turn can quote it
    PRIMARY KEY (tenant_id, document_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.erasure (tenant_id, user_id) ON DELETE CASCADE
);
CREATE INDEX erased_document_of_erasure ON responsa.erased_document (tenant_id, user_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['erasure', 'erased_document'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE (sweep_time, end_time, receipt) ON responsa.erasure TO responsa_app;
GRANT SELECT, INSERT, DELETE ON responsa.erased_document TO responsa_app;

-- Who made an invitation; NULL for those of earlier releases, which expire within 30 days.
ALTER TABLE responsa.invitation ADD COLUMN maker_id uuid;
CREATE INDEX invitation_of_maker ON responsa.invitation (tenant_id, maker_id);

-- What only the erasing of a user changes.
GRANT DELETE ON responsa.app_user, responsa.api_key, responsa.turn_follower, responsa.citation TO responsa_app;
GRANT UPDATE (content, refusal) ON responsa.message TO responsa_app;
CREATE INDEX document_of_owner ON responsa.document (tenant_id, owner_id);

ALTER TABLE responsa.message
    DROP CONSTRAINT message_refusal_check,
    ADD CONSTRAINT message_refusal_check CHECK (refusal IN ('no_support', 'out_of_scope', 'unsafe', 'budget', 'quota', 'source_erased')) NOT VALID;
