-- The questions that the owner of a collection suggests to those who may ask it.

ALTER TABLE responsa.collection ADD COLUMN suggested_questions text[] NOT NULL DEFAULT '{}'
    CHECK (cardinality(suggested_questions) <= 8 AND char_length(array_to_string(suggested_questions, '')) <= 1600);
