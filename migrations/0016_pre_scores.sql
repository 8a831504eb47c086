-- Feedback may have a score from 1 to 5, which gives the rating: NULL for 3, which is neither up nor down.
ALTER TABLE responsa.message_feedback
    ALTER COLUMN rating DROP NOT NULL,
    ADD COLUMN score smallint CHECK (score BETWEEN 1 AND 5),
    ADD CHECK (rating IS NOT NULL OR score IS NOT DISTINCT FROM 3);
-- A server of the release before replaces the rating and leaves the score, which then counts no more.
CREATE FUNCTION responsa.forget_score() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    NEW.score = NULL;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION responsa.forget_score FROM public;
CREATE TRIGGER forget_score BEFORE UPDATE OF rating ON responsa.message_feedback FOR EACH ROW
    WHEN (NEW.rating IS DISTINCT FROM CASE sign(NEW.score - 3) WHEN 1 THEN 'up' WHEN -1 THEN 'down' END)
    EXECUTE FUNCTION responsa.forget_score();
