-- Checks the constraint of 0056 on the rows that are already there, without stopping readers or writers.
SET LOCAL lock_timeout = '10s';

ALTER TABLE responsa.message VALIDATE CONSTRAINT message_refusal_check;
