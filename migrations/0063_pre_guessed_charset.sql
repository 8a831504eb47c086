-- The character set that was guessed for the text of an ingestion, if the guess is in doubt. What was left out is in `counts`, which only runs of sources used so far.
SET LOCAL lock_timeout = '10s';
ALTER TABLE responsa.operation ADD COLUMN charset text NOT NULL DEFAULT '';
