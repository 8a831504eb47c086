-- The date that a cited document states for its content, as YYYY-MM-DD. Rows of earlier releases and of documents without a date have ''.
ALTER TABLE responsa.citation ADD COLUMN date text NOT NULL DEFAULT '';
