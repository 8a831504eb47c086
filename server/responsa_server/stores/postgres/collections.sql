-- Collections of one tenant (role responsa_app, tenant set).

-- name: insert
-- The conflict may be with the id, with another collection of the owner's, or with the collection of the conversation.
INSERT INTO responsa.collection (tenant_id, id, slug, owner_id, display_name, max_tokens, overlap_tokens, embedding,
    kind, dimensions, generation_id,
    suggested_questions, conversation_id)
VALUES (
    %(tenant)s, %(id)s, %(slug)s, %(owner)s, %(display_name)s, %(max_tokens)s, %(overlap_tokens)s, %(embedding)s,
        %(kind)s, %(dimensions)s, %(generation)s,
    coalesce(%(suggested_questions)s::text[], '{}'), %(conversation)s)
ON CONFLICT DO NOTHING
RETURNING true;

-- name: lock_owner
-- Of two calls of one owner, the second waits until the first has created its collection.
SELECT pg_advisory_xact_lock(hashtextextended('responsa.collections ' || %(owner)s::text, 0));

-- name: count_of_owner
SELECT count(*) FROM responsa.collection WHERE tenant_id = %(tenant)s AND owner_id = %(owner)s AND conversation_id IS NULL;

-- name: own_conversation
-- It cannot be deleted until this transaction ends.
SELECT true FROM responsa.conversation WHERE tenant_id = %(tenant)s AND user_id = %(owner)s AND id = %(conversation)s FOR KEY SHARE;

-- name: files_of_conversation
SELECT id FROM responsa.collection WHERE tenant_id = %(tenant)s AND conversation_id = %(conversation)s FOR UPDATE;

-- name: taken
SELECT true FROM responsa.collection WHERE tenant_id = %(tenant)s AND owner_id = %(owner)s AND slug = %(slug)s;

-- name: unknown_readers
SELECT r.place - 1, r.user_id FROM unnest(%(users)s::uuid[]) WITH ORDINALITY AS r (user_id, place)
WHERE r.user_id IS NOT NULL AND NOT EXISTS (SELECT FROM responsa.app_user AS u WHERE u.tenant_id = %(tenant)s AND u.id = r.user_id)
ORDER BY r.place LIMIT 1;

-- name: unknown_groups
SELECT r.place - 1, r.group_id FROM unnest(%(groups)s::uuid[]) WITH ORDINALITY AS r (group_id, place)
WHERE r.group_id IS NOT NULL AND NOT EXISTS (SELECT FROM responsa.user_group AS g WHERE g.tenant_id = %(tenant)s AND g.id = r.group_id)
ORDER BY r.place LIMIT 1;

-- name: with_addresses
SELECT u.email, u.id FROM responsa.app_user AS u WHERE u.tenant_id = %(tenant)s AND u.email = ANY (%(addresses)s::text[]);

-- name: drop_readers
DELETE FROM responsa.collection_reader AS r
WHERE r.tenant_id = %(tenant)s AND r.collection_id = %(id)s AND NOT EXISTS (
    SELECT FROM unnest(%(users)s::uuid[], %(roles)s::text[], %(groups)s::uuid[]) AS w (user_id, role, group_id)
    WHERE (w.user_id, w.role, w.group_id) IS NOT DISTINCT FROM (r.user_id, r.role, r.group_id))
RETURNING coalesce('users/' || r.user_id, 'groups/' || r.group_id, r.role, '');

-- name: add_readers
INSERT INTO responsa.collection_reader (tenant_id, collection_id, user_id, role, group_id)
SELECT %(tenant)s, %(id)s, w.* FROM unnest(%(users)s::uuid[], %(roles)s::text[], %(groups)s::uuid[]) AS w (user_id, role, group_id)
ON CONFLICT DO NOTHING
RETURNING coalesce('users/' || user_id, 'groups/' || group_id, role, '');

-- name: document_count
(SELECT count(*) FROM responsa.document AS d
    WHERE d.tenant_id = c.tenant_id AND d.collection_id = c.id AND (d.version > 0 OR d.state <> 'failed')) AS document_count

-- name: columns
CASE c.slug WHEN c.id THEN responsa.other_name(c.tenant_id, c.id) ELSE c.id END AS shared_id, c.slug AS chosen_id,
    c.tenant_id, c.owner_id, u.display_name AS owner_display_name, c.display_name, max_tokens, overlap_tokens,
    embedding, c.create_time, c.update_time, c.revision, kind, c.conversation_id,
    CASE WHEN m.readable THEN suggested_questions ELSE ARRAY[]::text[] END AS suggested_questions,
    {document_count},
    m.manageable, m.readable,
    CASE WHEN m.manageable THEN ARRAY(
        SELECT ARRAY[coalesce('users/' || r.user_id, 'groups/' || r.group_id, r.role, ''), coalesce(p.display_name, g.display_name, '')]
        FROM responsa.collection_reader AS r LEFT JOIN responsa.app_user AS p ON p.tenant_id = r.tenant_id AND p.id = r.user_id
            LEFT JOIN responsa.user_group AS g ON g.tenant_id = r.tenant_id AND g.id = r.group_id
        WHERE r.tenant_id = c.tenant_id AND r.collection_id = c.id
        ORDER BY r.create_time, r.user_id, r.group_id, r.role) END AS readers

-- name: rights
CROSS JOIN LATERAL (SELECT c.owner_id = responsa.acting_user() OR responsa.acting_role() = 'admin' OR responsa.unrestricted() AS manageable,
    (SELECT responsa.unrestricted()) OR c.id = ANY ((SELECT responsa.readable_collections())::text[]) AS readable) AS m

-- name: get
SELECT responsa.collection_name(c.id) AS id, synonyms, {columns}
FROM responsa.collection AS c JOIN responsa.app_user AS u ON u.tenant_id = c.tenant_id AND u.id = c.owner_id
{rights}
WHERE c.tenant_id = %(tenant)s AND c.id = %(id)s;

-- name: unreadable
-- The first of these names that means no collection that the caller may read.
SELECT w.name FROM unnest(%(names)s::text[]) WITH ORDINALITY AS w (name, place)
WHERE responsa.readable_collection(w.name) IS NULL
ORDER BY w.place LIMIT 1;

-- name: lock
SELECT create_time, revision FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = %(id)s FOR UPDATE;

-- name: list
SELECT n.name AS id, {columns}
FROM responsa.collection AS c JOIN responsa.collection_names() AS n ON n.id = c.id
    JOIN responsa.app_user AS u ON u.tenant_id = c.tenant_id AND u.id = c.owner_id
{rights}
WHERE c.tenant_id = %(tenant)s AND c.conversation_id IS NULL AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: update
UPDATE responsa.collection
    SET display_name = coalesce(%(display_name)s::text, display_name), synonyms = coalesce(%(synonyms)s::text, synonyms),
    synonyms_sha256 = coalesce(%(synonyms_sha256)s::bytea, synonyms_sha256),
        suggested_questions = coalesce(%(suggested_questions)s::text[], suggested_questions),
    revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: lock_documents
SELECT id FROM responsa.document WHERE tenant_id = %(tenant)s AND collection_id = %(id)s ORDER BY id FOR UPDATE;

-- name: end_operations
UPDATE responsa.operation SET epoch = epoch + 1, stage = 'done', update_time = clock_timestamp(),
    error_reason = %(error_reason)s, error_message = %(error_message)s,
    error_metadata = jsonb_build_object('operation', 'operations/' || id)
WHERE tenant_id = %(tenant)s AND (document_id = ANY (%(documents)s) OR (kind = 'reindex' AND collection_id = %(id)s)) AND stage <> 'done'
RETURNING id;

-- name: delete_documents
WITH gone AS (
    DELETE FROM responsa.document WHERE tenant_id = %(tenant)s AND collection_id = %(id)s
        RETURNING tenant_id, id, collection_id, subject, version
)
INSERT INTO responsa.deleted_document (tenant_id, id, collection_id, subject)
    SELECT tenant_id, id, collection_id, subject FROM gone WHERE version > 0;

-- name: keep_readers
-- If a turn may have read one of the collection's documents.
INSERT INTO responsa.last_reader (tenant_id, collection_id, user_id, role, group_id)
SELECT k.tenant_id, k.id, k.user_id, k.role, k.group_id FROM (
    SELECT tenant_id, id, owner_id AS user_id, NULL AS role, NULL::uuid AS group_id
    FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = %(id)s
    UNION
    SELECT tenant_id, collection_id, user_id, role, group_id FROM responsa.collection_reader
    WHERE tenant_id = %(tenant)s AND collection_id = %(id)s
) AS k
WHERE EXISTS (SELECT FROM responsa.deleted_document AS d WHERE d.tenant_id = %(tenant)s AND d.collection_id = %(id)s)
ON CONFLICT DO NOTHING;

-- name: delete
DELETE FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = %(id)s;
