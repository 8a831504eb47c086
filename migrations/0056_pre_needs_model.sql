-- A refusal of what only a language model can do, such as writing a post.
SET LOCAL lock_timeout = '10s';

ALTER TABLE responsa.message
    DROP CONSTRAINT message_refusal_check,
    ADD CONSTRAINT message_refusal_check
        CHECK (refusal IN ('no_support', 'out_of_scope', 'unsafe', 'budget', 'quota', 'source_erased', 'needs_model')) NOT VALID;
