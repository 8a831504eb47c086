-- What 0026 has not looked at: reads all messages, and stops neither readers nor writers.
SET LOCAL lock_timeout = '10s';
ALTER TABLE responsa.message VALIDATE CONSTRAINT message_refusal_check;
