-- Profiles of the persons of one tenant (role responsa_app, tenant set).

-- name: user
SELECT id, subject FROM responsa.app_user WHERE tenant_id = %(tenant)s AND id = %(user)s;

-- name: users_with
-- Two are enough to see that the subject belongs to more than one.
SELECT id, subject FROM responsa.app_user WHERE tenant_id = %(tenant)s AND subject = %(subject)s LIMIT 2;

-- name: documents
-- Row-level security leaves out what the caller may not read.
SELECT d.id, coalesce(s.source_id, '') AS source_id, coalesce(s.kind, '') AS kind, count(*) OVER ()::int AS total
FROM responsa.document AS d
LEFT JOIN responsa.source_document AS s ON s.tenant_id = d.tenant_id AND s.document_id = d.id
WHERE d.tenant_id = %(tenant)s AND d.subject = ANY (%(subjects)s::text[])
ORDER BY source_id = '', source_id, kind, d.title, d.id LIMIT %(most)s;

-- name: sources
-- The sources of these documents, and those that set rows of the person aside.
SELECT s.id AS source_id, s.display_name AS source_display_name, coalesce(f.failed, 0)::int AS failed_rows,
    r.id AS newest_run_id, r.sync_time
FROM responsa.source AS s
LEFT JOIN (
    SELECT source_id, count(*) AS failed FROM responsa.source_failure
    WHERE tenant_id = %(tenant)s AND subject = ANY (%(subjects)s::text[]) GROUP BY source_id
) AS f ON f.source_id = s.id
LEFT JOIN LATERAL (
    SELECT o.id, CASE WHEN o.stage = 'done' AND o.error_reason IS NULL THEN o.update_time END AS sync_time FROM responsa.operation AS o
    WHERE o.tenant_id = %(tenant)s AND o.source_id = s.id AND o.kind = 'sync' AND (o.subject = '' OR o.subject = ANY (%(subjects)s::text[]))
    ORDER BY o.create_time DESC, o.id DESC LIMIT 1
) AS r ON true
WHERE s.tenant_id = %(tenant)s AND (s.id = ANY (%(sources)s::text[]) OR f.failed > 0)
ORDER BY s.id;
