-- A restored instance is paused: until `responsa activate` deletes this row, its servers do nothing outside. `restore` writes the row, in the transaction that makes this table if the backup
-- comes from an earlier release.
CREATE TABLE responsa.pause (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    begin_time timestamptz NOT NULL DEFAULT now(),
    turns uuid[] -- those that were open in the backup: no worker takes them over. NULL: the restore has not ended, and no server may start.
);
GRANT SELECT ON responsa.pause TO responsa_app;
GRANT SELECT, UPDATE (turns), DELETE ON responsa.pause TO responsa_log;
