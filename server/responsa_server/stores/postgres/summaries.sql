-- Summaries of conversations (role responsa_app, tenant set). A caller has those of their own conversations alone.

-- name: find
SELECT s.summary, s.through_message FROM responsa.conversation_summary AS s JOIN responsa.conversation AS c ON c.id = s.conversation_id
WHERE s.tenant_id = %(tenant)s AND c.tenant_id = %(tenant)s AND c.user_id = %(user)s AND s.conversation_id = %(conversation)s;

-- name: keep
-- The conversation is held, so that it cannot be deleted before its summary is there to go with it.
INSERT INTO responsa.conversation_summary (conversation_id, tenant_id, through_message, summary)
SELECT id, tenant_id, %(through)s, %(summary)s FROM responsa.conversation
WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND id = %(conversation)s
FOR KEY SHARE
ON CONFLICT (conversation_id) DO UPDATE
    SET through_message = excluded.through_message, summary = excluded.summary, update_time = excluded.update_time;
