-- What administrators do about a pattern (docs/insight.md).
ALTER TABLE responsa.question_pattern
    ADD COLUMN create_time timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN update_time timestamptz NOT NULL DEFAULT now(), -- when an administrator changed it last
    ADD COLUMN revision int NOT NULL DEFAULT 1, -- increases with every change of what follows
    ADD COLUMN state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'reopened')), -- reopened: a later question has no answer
    ADD COLUMN note text NOT NULL DEFAULT '' CHECK (octet_length(note) <= 2048),
    ADD COLUMN assignee_id uuid, -- NULL: nobody, or an erased user
    ADD COLUMN resolver_id uuid, -- who changed the state last; NULL: nobody, or an erased user
    ADD COLUMN resolve_time timestamptz, -- when that was
    ADD FOREIGN KEY (tenant_id, assignee_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE SET NULL (assignee_id),
    ADD FOREIGN KEY (tenant_id, resolver_id) REFERENCES responsa.app_user (tenant_id, id) ON DELETE SET NULL (resolver_id);
