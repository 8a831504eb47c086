-- What 0007 has not looked at: reads all turns and messages, and stops neither readers nor writers.
SET LOCAL lock_timeout = '10s';
ALTER TABLE responsa.turn VALIDATE CONSTRAINT turn_cost_micros_check, VALIDATE CONSTRAINT turn_unpriced_tokens_check;
ALTER TABLE responsa.message VALIDATE CONSTRAINT message_refusal_check;
