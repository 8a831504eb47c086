-- When the newest complete backup began, for the servers' metrics: the command `backup` may run in another container, without their data folder.
CREATE TABLE responsa.last_backup (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    begin_time timestamptz NOT NULL
);
GRANT SELECT ON responsa.last_backup TO responsa_log;
