-- Whom a change of a collection's readers added and removed.
SET LOCAL lock_timeout = '10s';

-- users/{uuid}, a role such as user, or '' for everyone in the tenant.
ALTER TABLE responsa.audit_event
    ADD COLUMN added_readers text[] NOT NULL DEFAULT '{}',
    ADD COLUMN removed_readers text[] NOT NULL DEFAULT '{}';
