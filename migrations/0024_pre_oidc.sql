-- People who sign in with OpenID Connect.
SET LOCAL lock_timeout = '10s';

-- A person at a provider is the pair of issuer and sub, whatever the e-mail address. A user may have several such identities.
CREATE TABLE responsa.user_identity (
    tenant_id text NOT NULL,
    issuer text NOT NULL,
    sub text NOT NULL,
    user_id uuid NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    sign_in_time timestamptz, -- the latest; NULL until the first sign-in after the identity was linked
    PRIMARY KEY (tenant_id, issuer, sub),
    FOREIGN KEY (tenant_id, user_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX user_identity_of_user ON responsa.user_identity (tenant_id, user_id);

-- The states of sign-ins that have come back from a provider. A state is good once. The rest of a sign-in that has begun is in a sealed cookie of the browser.
CREATE TABLE responsa.oidc_state (
    state_sha256 bytea PRIMARY KEY CHECK (length(state_sha256) = 32),
    tenant_id text NOT NULL REFERENCES responsa.tenant (id),
    expire_time timestamptz NOT NULL -- from then on, the cookie's own time refuses the state
);
CREATE INDEX oidc_state_of_tenant ON responsa.oidc_state (tenant_id, expire_time);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['user_identity', 'oidc_state'] LOOP
        EXECUTE format('ALTER TABLE responsa.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE responsa.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON responsa.%I TO responsa_app
            USING (tenant_id = responsa.current_tenant()) WITH CHECK (tenant_id = responsa.current_tenant())', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, DELETE, UPDATE (sign_in_time) ON responsa.user_identity TO responsa_app;
GRANT SELECT, INSERT, DELETE ON responsa.oidc_state TO responsa_app;
