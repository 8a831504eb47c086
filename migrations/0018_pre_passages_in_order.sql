-- The passages of a collection in the order of their ids: the next ones that lack a vector of a generation are found without reading those of other collections.
-- Everything that used passage_live uses the beginning of this index.
SET LOCAL lock_timeout = '10s';

CREATE INDEX passage_in_order ON responsa.passage (tenant_id, collection_id, id) WHERE live;
DROP INDEX responsa.passage_live;
