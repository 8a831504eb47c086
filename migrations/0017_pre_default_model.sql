-- The model that `default` stands for, if no setting of the operator names one (docs/providers.md). At most one row, which belongs to the installation.
CREATE TABLE responsa.default_model (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    provider text NOT NULL CHECK (provider ~ '^([a-z0-9][a-z0-9-]{0,31})?$'), -- '': none
    model text NOT NULL CHECK (octet_length(model) <= 200),
    key_name text NOT NULL CHECK (octet_length(key_name) <= 64), -- of a secret file or a variable, never the key
    base_url text NOT NULL CHECK (octet_length(base_url) <= 2048),
    update_time timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON responsa.default_model TO responsa_app;
