-- Collections of one tenant (role responsa_app, tenant set).

-- name: insert
INSERT INTO responsa.collection (tenant_id, id, owner_id, display_name, max_tokens, overlap_tokens, embedding, kind, dimensions, generation_id)
VALUES (
    %(tenant)s, %(id)s, %(owner)s, %(display_name)s, %(max_tokens)s, %(overlap_tokens)s, %(embedding)s, %(kind)s, %(dimensions)s, %(generation)s)
ON CONFLICT (tenant_id, id) DO NOTHING
RETURNING true;

-- name: get
SELECT id, tenant_id, owner_id, display_name, max_tokens, overlap_tokens, embedding, create_time, update_time, revision, synonyms, kind,
    (SELECT count(*) FROM responsa.document AS d WHERE d.tenant_id = c.tenant_id AND d.collection_id = c.id) AS document_count
FROM responsa.collection AS c
WHERE tenant_id = %(tenant)s AND id = %(id)s;

-- name: present
SELECT id FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = ANY (%(ids)s);

-- name: lock
SELECT create_time, revision FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = %(id)s FOR UPDATE;

-- name: list
SELECT id, tenant_id, owner_id, display_name, max_tokens, overlap_tokens, embedding, create_time, update_time, revision, kind,
    (SELECT count(*) FROM responsa.document AS d WHERE d.tenant_id = c.tenant_id AND d.collection_id = c.id) AS document_count
FROM responsa.collection AS c
WHERE tenant_id = %(tenant)s AND {where} ORDER BY {order} LIMIT %(limit)s;

-- name: update
UPDATE responsa.collection SET display_name = coalesce(%(display_name)s::text, display_name), synonyms = coalesce(%(synonyms)s::text, synonyms),
    synonyms_sha256 = coalesce(%(synonyms_sha256)s::bytea, synonyms_sha256), revision = revision + 1, update_time = clock_timestamp()
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
DELETE FROM responsa.document WHERE tenant_id = %(tenant)s AND collection_id = %(id)s;

-- name: delete
DELETE FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = %(id)s;
