-- Agent versions, which belong to the whole installation. The role responsa_app writes them. The role responsa_log, which sees
-- the turns of all tenants, reads them.

-- name: register_lock
-- Only one process registers at a time, so that versions become visible in the order of their ordinals. No other lock
-- in this database has this number.
SELECT pg_advisory_xact_lock(7310033201);

-- name: register
-- If another process has stored a version in the meantime, that version keeps its number.
WITH wanted AS (
    SELECT n.*, row_number() OVER (PARTITION BY n.agent ORDER BY n.place) AS next
    FROM unnest(%(agents)s::text[], %(engines)s::int[], %(hashes)s::bytea[],
        %(contents)b::bytea[]) WITH ORDINALITY AS n (agent, engine, sha256, content, place)
    WHERE NOT EXISTS (SELECT FROM responsa.agent_version AS v WHERE v.agent_id = n.agent AND v.sha256 = n.sha256)
)
INSERT INTO responsa.agent_version (agent_id, version, engine, sha256, content, card)
SELECT agent, coalesce((SELECT max(v.version) FROM responsa.agent_version AS v
    WHERE v.agent_id = w.agent), 0) + next, engine, sha256, content, %(card)s
FROM wanted AS w ORDER BY place
ON CONFLICT (agent_id, sha256) DO NOTHING;

-- name: registered
-- The versions are in the order of the call's arguments.
SELECT v.agent_id, v.version, v.ordinal, v.sha256, v.engine
FROM unnest(%(agents)s::text[], %(hashes)s::bytea[]) WITH ORDINALITY AS n (agent, sha256, place)
JOIN responsa.agent_version AS v ON v.agent_id = n.agent AND v.sha256 = n.sha256
ORDER BY n.place;

-- name: published
SELECT DISTINCT ON (agent_id) agent_id AS agent, version AS number, files_sha256, ordinal FROM responsa.agent_publication
ORDER BY agent_id, ordinal DESC;

-- name: publish_lock
-- One publication of an agent is stored or deleted at a time.
SELECT pg_advisory_xact_lock(hashtextextended('responsa.agent_publication ' || %(agent)s, 0));

-- name: publish
-- A publication that outranks all files says by its version whether the agent is listed.
WITH stored AS (
    INSERT INTO responsa.agent_publication (agent_id, version, files_sha256)
    SELECT %(agent)s, %(number)s, %(files_sha256)s
    WHERE (%(number)s::int, %(files_sha256)s::bytea) IS DISTINCT FROM
        (SELECT (version, files_sha256) FROM responsa.agent_publication WHERE agent_id = %(agent)s ORDER BY ordinal DESC LIMIT 1)
        AND (%(after)s::bigint IS NULL OR %(after)s::bigint = coalesce(
            (SELECT max(ordinal) FROM responsa.agent_publication WHERE agent_id = %(agent)s), 0))
    RETURNING ordinal
), unlisted AS (
    DELETE FROM responsa.agent_listing WHERE agent_id = %(agent)s AND %(files_sha256)s::bytea = '' AND EXISTS (SELECT FROM stored)
)
SELECT ordinal FROM stored;

-- name: listings
SELECT agent_id, listed FROM responsa.agent_listing;

-- name: list_agent
INSERT INTO responsa.agent_listing (agent_id, listed) VALUES (%(agent)s, %(listed)s)
ON CONFLICT (agent_id) DO UPDATE SET listed = excluded.listed WHERE agent_listing.listed <> excluded.listed
RETURNING agent_id;

-- name: roll_back
DELETE FROM responsa.agent_publication
WHERE version = %(number)s AND ordinal = (SELECT max(ordinal) FROM responsa.agent_publication WHERE agent_id = %(agent)s)
RETURNING ordinal;

-- name: newest
SELECT coalesce(max(ordinal), 0) AS ordinal FROM responsa.agent_version;

-- name: since
SELECT agent_id, version, ordinal, content, engine FROM responsa.agent_version
WHERE ordinal > %(ordinal)s AND engine = %(engine)s ORDER BY ordinal;

-- name: open
-- Each state is searched through its own index, so the number of ended turns does not affect the time.
SELECT DISTINCT agent_version FROM responsa.turn WHERE state IN ('pending', 'running')
UNION
SELECT DISTINCT agent_version FROM responsa.turn WHERE state = 'queued';

-- name: named
SELECT v.agent_id, v.version, v.ordinal, v.content, v.engine
FROM unnest(%(agents)s::text[], %(numbers)s::int[]) AS n (agent, number)
JOIN responsa.agent_version AS v ON v.agent_id = n.agent AND v.version = n.number
WHERE v.engine <= %(engine)s ORDER BY v.ordinal;

-- name: list
SELECT agent_id AS id, version, encode(sha256, 'hex') AS sha256, create_time, card FROM responsa.agent_version
WHERE agent_id = %(agent)s AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: get
SELECT agent_id AS id, version, encode(sha256, 'hex') AS sha256, create_time, card, content FROM responsa.agent_version
WHERE agent_id = %(agent)s AND version = %(version)s;
