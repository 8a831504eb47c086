-- How the page of a website was fetched of which a document was made: its addresses, and the headers for conditional requests. NULL for rows of databases.
ALTER TABLE responsa.source_document ADD COLUMN fetched jsonb;
