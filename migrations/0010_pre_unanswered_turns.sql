-- Lists of a user's turns by a rare state: without this index, PostgreSQL reads all turns of the user, or of the table. Open states are rare too, and have their own indexes. An answered turn is
-- in no more indexes than before.
CREATE INDEX turn_ended_unanswered ON responsa.turn (user_id, state, create_time, id) WHERE state IN ('refused', 'failed', 'cancelled');
