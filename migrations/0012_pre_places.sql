-- Where the blocks of a passage stand in the original file, and where a cited quote does. Rows of before, and of formats without places, have NULL or 0.
SET LOCAL lock_timeout = '10s';

-- [[first byte, end, page, [left, top, right, bottom] or null, path], …]. Always read with the passage, as a whole, so it needs no columns.
ALTER TABLE responsa.passage ADD COLUMN places json;

-- box: left, top, right and bottom, in thousandths of the page.
ALTER TABLE responsa.citation
    ADD COLUMN page int NOT NULL DEFAULT 0 CHECK (page >= 0),
    ADD COLUMN box smallint[] CHECK (cardinality(box) = 4),
    ADD COLUMN path text NOT NULL DEFAULT '';
