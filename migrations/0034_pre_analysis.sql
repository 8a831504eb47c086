-- By which version of `text/lexical.py` the terms of a passage were made. Earlier releases store passages without it; a job makes their terms again.
ALTER TABLE responsa.passage ADD COLUMN analysis smallint NOT NULL DEFAULT 1;
DROP INDEX responsa.passage_not_analysed;
CREATE INDEX passage_not_analysed ON responsa.passage (tenant_id, id)
    WHERE live AND (coalesce(get_byte(words, 0), 0) <> 1 OR coalesce(instructing[1], 0) <> 1 OR analysis <> 2);
