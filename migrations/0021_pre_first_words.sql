-- When the first words of answers could be read, and what a tenant means to spend (docs/insight.md).

ALTER TABLE responsa.turn ADD COLUMN first_words_time timestamptz; -- NULL: no part of the text was readable before the end, or an earlier release ran the turn
GRANT UPDATE (first_words_time) ON responsa.turn TO responsa_log;
ALTER TABLE responsa.usage_event ADD COLUMN first_words_milliseconds bigint; -- from the question on; NULL: not known
-- first_words has the same buckets as latency.
ALTER TABLE responsa.quality_hour
    DROP CONSTRAINT quality_hour_measure_check,
    ADD CONSTRAINT quality_hour_measure_check
        CHECK (measure IN ('turns', 'refusals', 'fallbacks', 'citations', 'cited_answers', 'unsupported_sentences', 'latency', 'first_words'));
ALTER TABLE responsa.quality_day
    DROP CONSTRAINT quality_hour_measure_check,
    ADD CONSTRAINT quality_hour_measure_check
        CHECK (measure IN ('turns', 'refusals', 'fallbacks', 'citations', 'cited_answers', 'unsupported_sentences', 'latency', 'first_words'));

ALTER TABLE responsa.tenant ADD COLUMN budget_micros bigint NOT NULL DEFAULT 0 CHECK (budget_micros >= 0); -- in a month (UTC), in millionths of a US dollar; 0: none
GRANT UPDATE (budget_micros) ON responsa.tenant TO responsa_app;
