-- Whether a turn runs alone in its worker's process. If the worker is lost meanwhile, the turn is the cause.
SET LOCAL lock_timeout = '10s';

ALTER TABLE responsa.turn ADD COLUMN alone boolean NOT NULL DEFAULT false;
GRANT UPDATE (alone) ON responsa.turn TO responsa_log;
