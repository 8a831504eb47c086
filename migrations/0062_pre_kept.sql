-- What a user keeps: the size of each conversation's turns, and room for another conversation.
SET LOCAL lock_timeout = '10s';

-- The bytes of `request` and `terminal` of the conversation's ended turns. Every statement that writes `terminal` changes it; the conversation is locked then in any case. What servers of
-- the release before store while they still run is not counted.
ALTER TABLE responsa.conversation ADD COLUMN turn_bytes bigint NOT NULL DEFAULT 0;
GRANT UPDATE (turn_bytes) ON responsa.conversation TO responsa_app;
-- While row security is forced, the owner sees no rows. Sizes are in the rows of turns, so that no large value is read.
ALTER TABLE responsa.conversation NO FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.turn NO FORCE ROW LEVEL SECURITY;
UPDATE responsa.conversation AS c SET turn_bytes = t.bytes
FROM (
    SELECT conversation_id AS id, sum(octet_length(request) + octet_length(terminal)) AS bytes FROM responsa.turn WHERE terminal IS NOT NULL GROUP BY conversation_id
) AS t
WHERE c.id = t.id;
ALTER TABLE responsa.turn FORCE ROW LEVEL SECURITY;
ALTER TABLE responsa.conversation FORCE ROW LEVEL SECURITY;

-- With the tenant in the index, a user's conversations are counted without reading them.
DROP INDEX responsa.conversation_by_creation;
CREATE INDEX conversation_by_creation ON responsa.conversation (user_id, create_time, id) INCLUDE (tenant_id);

-- Whether a user may have another conversation; most = 0: no limit. Of two transactions of one user, the second waits until the first has committed, and counts its conversation.
CREATE FUNCTION responsa.has_room_for_conversation(wanted_tenant text, wanted_user uuid, most bigint) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF most = 0 THEN
        RETURN true;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('responsa.conversations ' || wanted_user::text, 0));
    RETURN (SELECT count(*) FROM (SELECT FROM responsa.conversation WHERE tenant_id = wanted_tenant AND user_id = wanted_user LIMIT most) AS kept) < most;
END
$$;
REVOKE ALL ON FUNCTION responsa.has_room_for_conversation(text, uuid, bigint) FROM public;
GRANT EXECUTE ON FUNCTION responsa.has_room_for_conversation(text, uuid, bigint) TO responsa_app;
