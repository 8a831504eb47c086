-- Where the text for readers begins in a document, and the headings of a passage with their levels.

ALTER TABLE responsa.document_version ADD COLUMN body_start int NOT NULL DEFAULT 0; -- of the canonical text, in bytes: before it stand only statements about the document
-- The headings above its first byte, and those within: [[first byte, level, title], …]. NULL: none, or an earlier release stored the passage. Always read with the passage, as a whole.
ALTER TABLE responsa.passage ADD COLUMN outline json;
