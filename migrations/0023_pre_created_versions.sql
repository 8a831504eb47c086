-- Versions that owners create by call (docs/adr/0083). The card says where such a version came from.
ALTER TABLE responsa.agent_version ADD COLUMN card text NOT NULL DEFAULT '' CHECK (octet_length(card) <= 4096);
