-- The erasing of users (role responsa_app, tenant set). Every step locks the erasure's row first, so that of several
-- processes one works at a time.

-- name: begin
INSERT INTO responsa.erasure (tenant_id, user_id, heir_id) VALUES (%(tenant)s, %(user)s, %(heir)s)
ON CONFLICT (tenant_id, user_id) DO NOTHING
RETURNING user_id;

-- name: find
SELECT user_id, heir_id, begin_time, sweep_time, end_time, receipt FROM responsa.erasure
    WHERE tenant_id = %(tenant)s AND user_id = %(user)s;

-- name: hold
SELECT heir_id, sweep_time, end_time FROM responsa.erasure WHERE tenant_id = %(tenant)s AND user_id = %(user)s FOR NO KEY UPDATE;

-- name: count
UPDATE responsa.erasure SET receipt = receipt || (
    SELECT coalesce(jsonb_object_agg(n.key, n.value::bigint + coalesce((receipt ->> n.key)::bigint, 0)), '{}')
    FROM jsonb_each_text(%(counts)s) AS n WHERE n.value::bigint > 0
)
WHERE tenant_id = %(tenant)s AND user_id = %(user)s;

-- name: lock_heir
SELECT id, role FROM responsa.app_user
WHERE tenant_id = %(tenant)s AND (id = %(heir)s OR (email = %(heir_address)s AND email <> '')) AND id <> %(user)s
    AND disable_time IS NULL AND role <> 'service'
FOR KEY SHARE;

-- name: delete_mails
-- Before the address is gone: also what others asked for with this address.
WITH person AS (
    SELECT id, email FROM responsa.app_user WHERE tenant_id = %(tenant)s AND id = %(user)s
), mails AS (
    DELETE FROM responsa.mail AS m USING person AS p
    WHERE m.tenant_id = %(tenant)s AND (m.user_id = p.id OR (m.email = p.email AND p.email <> ''))
), confirmations AS (
    DELETE FROM responsa.email_confirmation AS c USING person AS p
    WHERE c.tenant_id = %(tenant)s AND (c.user_id = p.id OR (c.email = p.email AND p.email <> ''))
    RETURNING 1
)
SELECT count(*) AS codes FROM confirmations;

-- name: delete_invitations_to
WITH invitations AS (
    DELETE FROM responsa.invitation AS i USING responsa.app_user AS p
    WHERE p.tenant_id = %(tenant)s AND p.id = %(user)s AND p.email <> '' AND i.tenant_id = %(tenant)s AND i.email = p.email
    RETURNING 1
)
SELECT count(*) AS invitations FROM invitations;

-- name: withdraw_name
UPDATE responsa.app_user SET display_name = '', email = '', disable_time = coalesce(disable_time, clock_timestamp()),
    revision = revision + 1, update_time = clock_timestamp()
WHERE tenant_id = %(tenant)s AND id = %(user)s;

-- name: revoke_keys
UPDATE responsa.api_key SET revoke_time = clock_timestamp() WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND revoke_time IS NULL;

-- name: delete_credentials
WITH passwords AS (
    DELETE FROM responsa.user_password WHERE tenant_id = %(tenant)s AND user_id = %(user)s
), sessions AS (
    DELETE FROM responsa.session WHERE tenant_id = %(tenant)s AND user_id = %(user)s RETURNING 1
), session_codes AS (
    DELETE FROM responsa.session_code WHERE tenant_id = %(tenant)s AND user_id = %(user)s RETURNING 1
), reset_codes AS (
    DELETE FROM responsa.reset_code WHERE tenant_id = %(tenant)s AND user_id = %(user)s RETURNING 1
), invitations AS (
    DELETE FROM responsa.invitation WHERE tenant_id = %(tenant)s AND maker_id = %(user)s RETURNING 1
)
SELECT (SELECT count(*) FROM sessions) AS sessions, (SELECT count(*) FROM session_codes) + (SELECT count(*) FROM reset_codes) AS codes,
    (SELECT count(*) FROM invitations) AS invitations;

-- name: open_turns
SELECT id, user_id, CASE WHEN widget THEN 'widget' ELSE role END FROM responsa.turn
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND state IN ('queued', 'pending', 'running')
ORDER BY state <> 'queued', create_time, id;

-- name: conversations
-- Those without an open turn.
SELECT c.id FROM responsa.conversation AS c
WHERE c.tenant_id = %(tenant)s AND c.user_id = %(user)s
    AND NOT EXISTS (
        SELECT FROM responsa.turn AS t
        WHERE t.tenant_id = %(tenant)s AND t.conversation_id = c.id AND t.state IN ('queued', 'pending', 'running'))
ORDER BY c.id LIMIT %(most)s;

-- name: lock_collection
SELECT id FROM responsa.collection WHERE tenant_id = %(tenant)s AND id = %(collection)s AND owner_id = %(user)s FOR UPDATE;

-- name: collections
SELECT id FROM responsa.collection WHERE tenant_id = %(tenant)s AND owner_id = %(user)s ORDER BY id LIMIT %(most)s;

-- name: files_of_conversation
SELECT id FROM responsa.collection WHERE tenant_id = %(tenant)s AND conversation_id = %(conversation)s;

-- name: documents_of_others
-- One of the user's collections that holds documents of other users, and their number.
SELECT d.collection_id, count(*) AS documents FROM responsa.collection AS c
JOIN responsa.document AS d ON d.tenant_id = c.tenant_id AND d.collection_id = c.id AND d.owner_id <> c.owner_id
WHERE c.tenant_id = %(tenant)s AND c.owner_id = %(user)s
GROUP BY d.collection_id ORDER BY d.collection_id LIMIT 1;

-- name: shared_collections
-- Those that others can read, or that hold documents of others.
SELECT id FROM responsa.collection AS c WHERE tenant_id = %(tenant)s AND owner_id = %(user)s AND (
    EXISTS (SELECT FROM responsa.collection_reader AS r WHERE r.tenant_id = %(tenant)s AND r.collection_id = c.id)
    OR EXISTS (SELECT FROM responsa.document AS d WHERE d.tenant_id = %(tenant)s AND d.collection_id = c.id AND d.owner_id <> %(user)s)
)
ORDER BY id FOR UPDATE;

-- name: unread_by_heir
-- One of these collections that the heir may not read.
SELECT id FROM responsa.collection AS c WHERE tenant_id = %(tenant)s AND id = ANY (%(collections)s) AND NOT EXISTS (
    SELECT FROM responsa.collection_reader AS r
    WHERE r.tenant_id = %(tenant)s AND r.collection_id = c.id AND coalesce(r.user_id, %(heir)s) = %(heir)s
        AND coalesce(r.role, %(heir_role)s) = %(heir_role)s
        AND (r.group_id IS NULL OR EXISTS (
            SELECT FROM responsa.group_member AS m
            WHERE m.tenant_id = %(tenant)s AND m.group_id = r.group_id AND m.user_id = %(heir)s AND m.expire_time > now()))
)
LIMIT 1;

-- name: hand_over
-- Where the heir has a collection with the same id, the collection is called by its internal id.
WITH given AS (
    UPDATE responsa.collection AS c SET owner_id = %(heir)s, revision = revision + 1, update_time = clock_timestamp(),
        slug = CASE WHEN EXISTS (
            SELECT FROM responsa.collection AS h
            WHERE h.tenant_id = %(tenant)s AND h.owner_id = %(heir)s AND h.slug = c.slug
        ) THEN c.id ELSE c.slug END
    WHERE tenant_id = %(tenant)s AND owner_id = %(user)s AND id = ANY (%(collections)s)
    RETURNING id
), documents AS (
    UPDATE responsa.document SET owner_id = %(heir)s, revision = revision + 1, update_time = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND owner_id = %(user)s AND collection_id IN (SELECT id FROM given)
), readers AS (
    -- The owner is never a reader.
    DELETE FROM responsa.collection_reader WHERE tenant_id = %(tenant)s AND user_id = %(heir)s AND collection_id IN (SELECT id FROM given)
)
SELECT count(*) AS handed_over_collections FROM given;

-- name: lock_documents
SELECT id FROM responsa.document WHERE tenant_id = %(tenant)s AND collection_id = %(collection)s ORDER BY id FOR UPDATE;

-- name: documents
SELECT id FROM responsa.document WHERE tenant_id = %(tenant)s AND owner_id = %(user)s ORDER BY id LIMIT %(most)s;

-- name: lock_document
SELECT collection_id FROM responsa.document WHERE tenant_id = %(tenant)s AND id = %(document)s AND owner_id = %(user)s FOR UPDATE;

-- name: mark_documents
INSERT INTO responsa.erased_document (tenant_id, document_id, user_id, create_time)
SELECT tenant_id, id, %(user)s, create_time FROM responsa.document WHERE tenant_id = %(tenant)s AND id = ANY (%(documents)s)
ON CONFLICT DO NOTHING;

-- name: hand_over_operations
-- An operation on a document or a collection of somebody else goes on, in the name of that user.
UPDATE responsa.operation AS o SET user_id = k.owner_id
FROM (
    SELECT p.id, coalesce(d.owner_id, c.owner_id) AS owner_id FROM responsa.operation AS p
    LEFT JOIN responsa.document AS d ON d.tenant_id = p.tenant_id AND d.id = p.document_id
    LEFT JOIN responsa.collection AS c ON c.tenant_id = p.tenant_id AND p.kind = 'reindex' AND c.id = p.collection_id
    WHERE p.tenant_id = %(tenant)s AND p.user_id = %(user)s AND p.stage <> 'done'
) AS k
WHERE o.tenant_id = %(tenant)s AND o.id = k.id AND k.owner_id <> %(user)s;

-- name: hold_counts
-- Waits for the transaction that adds events to the sums, see insight.sql.
SELECT pg_advisory_xact_lock(hashtextextended('responsa.usage_event', 0));

-- name: delete_rest
WITH requests AS (
    DELETE FROM responsa.creation_request WHERE tenant_id = %(tenant)s AND user_id = %(user)s
), used AS (
    DELETE FROM responsa.user_usage WHERE tenant_id = %(tenant)s AND user_id = %(user)s
), summed AS (
    DELETE FROM responsa.usage_hour WHERE tenant_id = %(tenant)s AND user_id = %(user)s
), summed_of_days AS (
    DELETE FROM responsa.usage_day WHERE tenant_id = %(tenant)s AND user_id = %(user)s
), asked AS (
    UPDATE responsa.question_event SET user_id = '00000000-0000-0000-0000-000000000000', turn_id = NULL
        WHERE tenant_id = %(tenant)s AND user_id = %(user)s
), noted AS (
    UPDATE responsa.usage_event SET user_id = '00000000-0000-0000-0000-000000000000', turn_id = NULL
        WHERE tenant_id = %(tenant)s AND user_id = %(user)s
), resolved AS (
    UPDATE responsa.message_feedback SET resolver_id = NULL WHERE tenant_id = %(tenant)s AND resolver_id = %(user)s
), operations AS (
    DELETE FROM responsa.operation WHERE tenant_id = %(tenant)s AND user_id = %(user)s RETURNING 1
)
SELECT (SELECT count(*) FROM operations) AS operations;

-- name: delete_keys
WITH gone AS (
    DELETE FROM responsa.api_key WHERE tenant_id = %(tenant)s AND user_id = %(user)s RETURNING 1
)
SELECT count(*) AS api_keys FROM gone;

-- name: erase_addresses
SELECT responsa.erase_addresses_of_user(%(user)s);

-- name: delete_user
DELETE FROM responsa.app_user WHERE tenant_id = %(tenant)s AND id = %(user)s RETURNING id;

-- name: user_is_gone
UPDATE responsa.erasure SET sweep_time = clock_timestamp() WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND sweep_time IS NULL;

-- name: first_document
-- When the oldest of the erased documents was created; NULL if there are no more documents to look for.
SELECT min(create_time) FROM responsa.erased_document WHERE tenant_id = %(tenant)s AND user_id = %(user)s;

-- name: quoting_turns
-- The next turns that have ended, and whether each of them has read or contains one of the documents. The names of
-- documents in events are ASCII text, wherever they stand.
SELECT t.id, t.terminal IS NOT NULL AND (
    EXISTS (
        SELECT FROM responsa.erased_document AS d
        WHERE d.tenant_id = %(tenant)s AND d.document_id = ANY (t.read_documents) AND d.user_id = %(user)s)
    OR EXISTS (
        SELECT FROM responsa.message AS m JOIN responsa.citation AS c ON c.tenant_id = m.tenant_id AND c.message_id = m.id
        JOIN responsa.erased_document AS d ON d.tenant_id = c.tenant_id AND d.document_id = c.document_id
        WHERE m.tenant_id = %(tenant)s AND m.turn_id = t.id AND d.user_id = %(user)s)
    OR EXISTS (
        SELECT FROM regexp_matches(encode(t.terminal, 'escape'),
            'documents/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})', 'g') AS m (found)
        JOIN responsa.erased_document AS d ON d.tenant_id = %(tenant)s AND d.document_id = m.found[1]::uuid
        WHERE d.user_id = %(user)s)
    OR EXISTS (
        SELECT FROM responsa.turn_event AS e
        CROSS JOIN LATERAL regexp_matches(encode(e.frame, 'escape'),
            'documents/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})', 'g') AS m (found)
        JOIN responsa.erased_document AS d ON d.tenant_id = %(tenant)s AND d.document_id = m.found[1]::uuid
        WHERE e.tenant_id = %(tenant)s AND e.turn_id = t.id AND d.user_id = %(user)s)
)
FROM (
    SELECT id, terminal, read_documents FROM responsa.turn WHERE tenant_id = %(tenant)s AND id > %(after)s ORDER BY id LIMIT %(most)s
) AS t
ORDER BY t.id;

-- name: hold_turn
-- Conversations are locked before turns.
SELECT id FROM responsa.conversation
WHERE tenant_id = %(tenant)s AND id = (SELECT conversation_id FROM responsa.turn WHERE tenant_id = %(tenant)s AND id = %(turn)s)
FOR NO KEY UPDATE;

-- name: lock_turn
SELECT state, terminal, EXISTS (
    SELECT FROM responsa.erased_document AS d
    WHERE d.tenant_id = %(tenant)s AND d.document_id = ANY (t.read_documents) AND d.user_id = %(user)s) AS has_read
FROM responsa.turn AS t WHERE tenant_id = %(tenant)s AND id = %(turn)s AND terminal IS NOT NULL FOR NO KEY UPDATE;

-- name: erased_documents
SELECT document_id FROM responsa.erased_document WHERE tenant_id = %(tenant)s AND user_id = %(user)s;

-- name: withdraw
-- The log goes, as if it had been pruned: readers get a snapshot with the terminal event, whose seq stays the last one.
WITH changed AS (
    UPDATE responsa.turn AS t SET state = %(state)s, terminal = %(terminal)b,
        read_documents = k.documents, read_versions = k.versions
    FROM (
        SELECT coalesce(array_agg(r.document ORDER BY r.place), '{}') AS documents, coalesce(array_agg(r.version
            ORDER BY r.place), '{}') AS versions
        FROM responsa.turn AS o CROSS JOIN LATERAL unnest(o.read_documents, o.read_versions) WITH ORDINALITY AS r (document, version, place)
        WHERE o.tenant_id = %(tenant)s AND o.id = %(turn)s AND NOT EXISTS (
            SELECT FROM responsa.erased_document AS d
                WHERE d.tenant_id = %(tenant)s AND d.document_id = r.document AND d.user_id = %(user)s)
    ) AS k
    WHERE t.tenant_id = %(tenant)s AND t.id = %(turn)s
    RETURNING t.id, t.conversation_id, octet_length(new.terminal) - octet_length(old.terminal) AS more
), counted AS (
    UPDATE responsa.conversation AS c SET turn_bytes = greatest(c.turn_bytes + t.more, 0) FROM changed AS t
        WHERE c.tenant_id = %(tenant)s AND c.id = t.conversation_id
), logged AS (
    DELETE FROM responsa.turn_event WHERE tenant_id = %(tenant)s AND turn_id = %(turn)s
), called AS (
    DELETE FROM responsa.turn_tool WHERE tenant_id = %(tenant)s AND turn_id = %(turn)s
), summed AS (
    DELETE FROM responsa.conversation_summary WHERE tenant_id = %(tenant)s AND conversation_id IN (SELECT conversation_id FROM changed)
)
SELECT id FROM changed;

-- name: withdraw_message
WITH changed AS (
    UPDATE responsa.message SET content = %(notice)s, refusal = 'source_erased'
    WHERE tenant_id = %(tenant)s AND turn_id = %(turn)s AND speaker = 'assistant'
    RETURNING id
)
DELETE FROM responsa.citation WHERE tenant_id = %(tenant)s AND message_id IN (SELECT id FROM changed);

-- name: may_still_quote
-- A turn that was accepted while the documents could still be found, and has not ended.
SELECT 1 FROM responsa.turn
WHERE tenant_id = %(tenant)s AND state IN ('queued', 'pending', 'running')
    AND create_time <= (SELECT sweep_time FROM responsa.erasure WHERE tenant_id = %(tenant)s AND user_id = %(user)s)
LIMIT 1;

-- name: forget_documents
WITH erased AS (
    DELETE FROM responsa.erased_document WHERE tenant_id = %(tenant)s AND user_id = %(user)s RETURNING tenant_id, document_id
)
DELETE FROM responsa.deleted_document AS d USING erased WHERE d.tenant_id = erased.tenant_id AND d.id = erased.document_id;

-- name: forget_readers
-- Those of collections whose documents have all been forgotten.
DELETE FROM responsa.last_reader AS r
WHERE r.tenant_id = %(tenant)s AND NOT EXISTS (
    SELECT FROM responsa.deleted_document AS d WHERE d.tenant_id = %(tenant)s AND d.collection_id = r.collection_id);

-- name: forget_subject
-- The deleted documents that only this user could read are for no user.
UPDATE responsa.deleted_document SET subject = %(nobody)s
WHERE tenant_id = %(tenant)s AND subject = 'users/' || %(user)s::uuid;

-- name: forget_subject_of_runs
-- Failed rows of this user, and runs for the user, are for no user. A run that has not ended is cancelled: its job ends
-- with the next thing that it writes. A subject that other
-- users have, too, is theirs. Whoever publishes locks a run before its documents and their operations.
WITH subjects AS (
    SELECT 'users/' || %(user)s::uuid AS subject
    UNION ALL
    SELECT p.subject FROM responsa.app_user AS p
    WHERE p.tenant_id = %(tenant)s AND p.id = %(user)s AND p.subject <> ''
        AND NOT EXISTS (SELECT FROM responsa.app_user AS o WHERE o.tenant_id = %(tenant)s AND o.id <> %(user)s AND o.subject = p.subject)
), failures AS (
    UPDATE responsa.source_failure AS f SET subject = '' FROM subjects AS s WHERE f.tenant_id = %(tenant)s AND f.subject = s.subject
)
UPDATE responsa.operation AS o SET subject = %(nobody)s, stage = 'done', epoch = o.epoch + (o.stage <> 'done')::int,
    update_time = CASE o.stage WHEN 'done' THEN o.update_time ELSE clock_timestamp() END,
    error_reason = CASE o.stage WHEN 'done' THEN o.error_reason ELSE %(error_reason)s END,
    error_message = CASE o.stage WHEN 'done' THEN o.error_message ELSE %(error_message)s END,
    error_metadata = CASE o.stage WHEN 'done' THEN o.error_metadata ELSE jsonb_build_object('operation', 'operations/' || o.id) END
FROM subjects AS s WHERE o.tenant_id = %(tenant)s AND o.kind = 'sync' AND o.subject = s.subject;

-- name: end
UPDATE responsa.erasure SET end_time = clock_timestamp() WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND end_time IS NULL;
