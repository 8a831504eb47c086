-- The ledger records the effect that a tool had when a call was announced, because the declaration may change before another worker continues the turn.
SET LOCAL lock_timeout = '10s';

ALTER TABLE responsa.turn_tool ADD COLUMN effect text CHECK (effect IN ('none', 'idempotent', 'once')); -- NULL: announced by an earlier release
