-- Whose documents a collection holds. An answer comes from the people's own documents if these support one, otherwise from samples or Responsa's documentation.
-- A statement that waits for a lock on a table keeps all later ones waiting: the migration fails instead, and can be started again.
SET LOCAL lock_timeout = '10s';

-- Servers of the release before write no kind: what they make is the people's own.
ALTER TABLE responsa.collection
    ADD COLUMN kind text NOT NULL DEFAULT 'own' CONSTRAINT collection_kind_check CHECK (kind IN ('own', 'sample', 'docs'));

-- While row security is forced, the owner sees no rows. The table is locked by the statement above in any case.
ALTER TABLE responsa.collection NO FORCE ROW LEVEL SECURITY;
UPDATE responsa.collection SET kind = CASE id WHEN 'responsa-docs' THEN 'docs' ELSE 'sample' END
WHERE id IN ('responsa-docs', 'chat', 'tutor');
ALTER TABLE responsa.collection FORCE ROW LEVEL SECURITY;
