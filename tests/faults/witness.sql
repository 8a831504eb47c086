-- Records which replica held a turn and which replica wrote to it. A replica is identified by the first word of its connections'
-- application_name, which is unique in a campaign. Only campaigns install this schema in their databases.
CREATE SCHEMA witness;
CREATE SEQUENCE witness.moment;
-- Each epoch of a turn, with the worker that raised it. The statement that raises an epoch locks the turn's row, and so does every
-- write. Therefore the recorded moments follow the real order.
CREATE TABLE witness.held (
    moment bigint NOT NULL DEFAULT nextval('witness.moment'),
    turn_id uuid NOT NULL,
    epoch bigint NOT NULL,
    writer text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON witness.held (turn_id, epoch);
CREATE TABLE witness.wrote (
    moment bigint NOT NULL DEFAULT nextval('witness.moment'),
    turn_id uuid NOT NULL,
    what text NOT NULL,
    seq bigint, -- for log rows, the seq of the first event
    epoch bigint NOT NULL, -- the turn's epoch at that moment
    claimed bigint, -- the epoch in the row itself, if it has one
    writer text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON witness.wrote (turn_id);

CREATE FUNCTION witness.hold() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.epoch IS DISTINCT FROM OLD.epoch THEN
        INSERT INTO witness.held (turn_id, epoch, writer)
        VALUES (NEW.id, NEW.epoch, split_part(current_setting('application_name'), ' ', 1));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER witness_hold AFTER INSERT OR UPDATE ON responsa.turn FOR EACH ROW EXECUTE FUNCTION witness.hold();

CREATE FUNCTION witness.write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    row_json jsonb := to_jsonb(NEW);
BEGIN
    INSERT INTO witness.wrote (turn_id, what, seq, epoch, claimed, writer)
    SELECT NEW.turn_id, TG_ARGV[0], (row_json ->> 'seq')::bigint, t.epoch, (row_json ->> 'epoch')::bigint,
        split_part(current_setting('application_name'), ' ', 1)
    FROM responsa.turn AS t WHERE t.id = NEW.turn_id;
    RETURN NULL;
END $$;
CREATE TRIGGER witness_write AFTER INSERT ON responsa.turn_event FOR EACH ROW EXECUTE FUNCTION witness.write('event');
CREATE TRIGGER witness_write AFTER INSERT OR UPDATE ON responsa.turn_checkpoint FOR EACH ROW EXECUTE FUNCTION witness.write('checkpoint');
CREATE TRIGGER witness_write AFTER INSERT ON responsa.turn_tool FOR EACH ROW EXECUTE FUNCTION witness.write('tool');
CREATE TRIGGER witness_write AFTER INSERT ON responsa.message FOR EACH ROW EXECUTE FUNCTION witness.write('message');
