-- Words find passages by how strongly the passages have them, so that a search of common words reads a bounded number of passages (ADR 0067).

GRANT CREATE ON SCHEMA responsa TO responsa_search; -- a function's owner must be allowed to create in its schema

-- One number for each term of a passage: a hash of the tenant, the collection and the term, whose last six bits are the term's strength in the passage: 24 + 4 log2 (tf / norm), where
-- norm is BM25's k1 (1 - b + b length / mean) for a mean length of 32 terms. Few collections have a shorter mean; in one with a longer, `search_words` corrects the strength.
CREATE FUNCTION responsa.postings(tenant text, collection text, terms tsvector, length int) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (
        SELECT coalesce(array_agg(hashtextextended(u.lexeme, hashtextextended(tenant || '/' || collection, 0)) & -64
            | least(greatest(floor(24 + 4 / ln(2::float8) * ln(f.tf / (0.3 + 0.028125 * length))), 0), 63)::bigint), '{}')
        -- A term has no positions if it occurs only after the last position that a tsvector can hold.
        FROM unnest(terms) AS u, LATERAL (SELECT greatest(cardinality(u.positions), 1)::float8 AS tf) AS f);
REVOKE ALL ON FUNCTION responsa.postings FROM public;
GRANT EXECUTE ON FUNCTION responsa.postings TO responsa_app, responsa_search;

-- While a large table gets its index, documents could not be published. So `build_postings` builds that one, and until then the words search by matches.
DO $$
BEGIN
    IF pg_relation_size('responsa.passage') < 32 * 1024 * 1024 THEN
        CREATE INDEX passage_postings ON responsa.passage USING gin (responsa.postings(tenant_id, collection_id, terms, length)) WHERE live;
    END IF;
END
$$;

SET LOCAL ROLE responsa_search;
-- The passages that have one of the postings `first` and one of `second`, or one of `third` and one of `fourth`, in no order, with their BM25 (but for the factor k1 + 1). OFFSET 0
-- keeps other indexes out of the plan. ts_rank of a single term is the sum of 1/n² over its tf occurrences, divided by π²/6: from that follows tf. For a term with alternatives, tf is
-- about 1.
CREATE FUNCTION responsa.passages_with(
    tenant text, collection text, subjects text[], documents uuid[], first bigint[], second bigint[], third bigint[], fourth bigint[],
    queries tsquery[], weights real[], mean_length real, most int)
    RETURNS TABLE (id uuid, score float8)
    LANGUAGE sql STABLE
    AS $$
        SELECT p.id, (
            SELECT sum(t.weight * (1 - n.norm / (n.norm + greatest(0.6079271::float8 / (1 - ts_rank('{1, 1, 1, 1}', p.terms, t.query)) - 0.5::float8, 1))))
            FROM unnest(queries, weights) AS t (query, weight)
            WHERE p.lexemes @@ t.query)
        FROM (
            SELECT q.id, q.tenant_id, q.collection_id, q.document_id, q.subject, q.length, q.terms, q.lexemes
            FROM responsa.passage AS q
            WHERE q.live
                AND ((responsa.postings(q.tenant_id, q.collection_id, q.terms, q.length) && first
                        AND responsa.postings(q.tenant_id, q.collection_id, q.terms, q.length) && second)
                    OR (responsa.postings(q.tenant_id, q.collection_id, q.terms, q.length) && third
                        AND responsa.postings(q.tenant_id, q.collection_id, q.terms, q.length) && fourth))
            OFFSET 0
        ) AS p, LATERAL (SELECT 0.3::float8 + 0.9::float8 * p.length / mean_length AS norm) AS n
        WHERE p.tenant_id = tenant
            AND p.collection_id = collection
            AND (subjects IS NULL OR p.subject = ANY (subjects))
            AND (documents IS NULL OR p.document_id = ANY (documents))
        LIMIT most
    $$;
-- The `most` passages of a collection with the greatest BM25 for the words, as far as they are among those read, which are
-- 1. all passages of the rarest words, as long as these have at most 1,000 together (`frequencies`; rarest word first);
-- 2. about 300 passages that have one of the next eight words most strongly, each word by its weight;
-- 3. about 120 passages for each of these words that have it and another one less strongly.
-- It ends earlier when no other passage can be better than the tenth best. `wanted` and the arguments before `few` are those of `search_lexical_within`, which searches several
-- collections, few documents, and few readable passages. `queries` and `weights` are those of the question's terms; `words` also has those of their alternatives.
CREATE FUNCTION responsa.search_words(
    tenant text, collections text[], wanted tsquery, queries tsquery[], weights real[], mean_length real, most int, documents uuid[], few boolean,
    words text[], word_weights real[], frequencies int[])
    RETURNS TABLE (passage_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, responsa, public, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    AS $$
    DECLARE
        collection text := collections[1];
        subjects text[] := responsa.searched_subjects();
        of_subjects uuid[] := documents;
        hashes bigint[];
        whole int := 0; -- how many words are of step 1
        last int; -- the last word of steps 2 and 3
        matches bigint := 0;
        heaviest float8;
        share float8 := 1; -- passages are read that have at least this share of the heaviest word's greatest BM25, by this word or by another one
        drop float8 := 2;
        correction float8 := (0.3 + 0.028125 * mean_length) / 1.2; -- for passages of the mean length
        floors int[]; -- for each word, the least strength that was read; 64: none
        lower int[];
        passed int;
        ids uuid[] := '{}';
        scores float8[] := '{}';
        more_ids uuid[];
        more_scores float8[];
        tenth float8;
        reachable float8; -- by passages that were not read
    BEGIN
        IF tenant IS DISTINCT FROM responsa.current_tenant() THEN
            RAISE insufficient_privilege USING MESSAGE = 'a search names another tenant than its transaction';
        END IF;
        few := few OR cardinality(collections) IS DISTINCT FROM 1
            OR (SELECT i.indisvalid FROM pg_index AS i WHERE i.indexrelid = to_regclass('responsa.passage_postings')) IS NOT TRUE;
        IF NOT few AND NOT responsa.unrestricted() THEN
            IF collection <> ALL (responsa.readable_collections()) THEN
                RETURN;
            END IF;
            IF subjects IS NOT NULL AND responsa.few_readable(tenant, collections, subjects) THEN
                few := true;
                of_subjects := ARRAY(
                    SELECT DISTINCT p.document_id FROM responsa.passage AS p
                    WHERE p.tenant_id = tenant AND p.live AND p.collection_id = collection AND p.subject = ANY (subjects)
                        AND (documents IS NULL OR p.document_id = ANY (documents)));
            END IF;
        END IF;
        IF few THEN
            RETURN QUERY SELECT s.passage_id
                FROM responsa.search_lexical_within(tenant, collections, wanted, queries, weights, mean_length, most, of_subjects) AS s;
            RETURN;
        END IF;
        hashes := ARRAY(
            SELECT hashtextextended(w.word, hashtextextended(tenant || '/' || collection, 0)) & -64
            FROM unnest(words) WITH ORDINALITY AS w (word, place) ORDER BY w.place);
        WHILE whole < cardinality(words) AND matches + frequencies[whole + 1] <= 1000 LOOP
            whole := whole + 1;
            matches := matches + frequencies[whole];
        END LOOP;
        last := least(cardinality(words), whole + 8);
        IF whole > 0 THEN
            SELECT coalesce(array_agg(f.id), '{}'), coalesce(array_agg(f.score), '{}') INTO ids, scores
            FROM (SELECT ARRAY(SELECT h.hash | l.level FROM unnest(hashes[:whole]) AS h (hash), generate_series(0, 63) AS l (level)) AS keys) AS k,
                responsa.passages_with(tenant, collection, subjects, documents, k.keys, k.keys, '{}', '{}', queries, weights, mean_length, NULL) AS f;
        END IF;
        floors := array_fill(64, ARRAY[cardinality(words)]);
        heaviest := (SELECT max(w.weight) FROM unnest(word_weights[whole + 1:last]) AS w (weight));
        passed := cardinality(ids);
        LOOP
            tenth := coalesce((SELECT s.score FROM unnest(scores) AS s (score) ORDER BY s.score DESC OFFSET least(most, 10) - 1 LIMIT 1), 0);
            reachable := (
                SELECT sum(w.weight * CASE w.floor WHEN 64 THEN 1 ELSE 1 - 1 / (1 + greatest(1, mean_length / 32) * 2 ^ ((w.floor - 24) / 4.0::float8)) END)
                FROM unnest(word_weights[whole + 1:], floors[whole + 1:]) AS w (weight, floor));
            EXIT WHEN whole >= last OR share <= 0 OR reachable <= tenth OR cardinality(ids) - passed >= 300;
            share := greatest(share - drop / 32, 0);
            lower := ARRAY(
                SELECT CASE WHEN s.share >= 1 THEN 64
                    ELSE least(greatest(ceil(24 + 4 / ln(2::float8) * ln(greatest(s.share / (1 - s.share) / correction, 1e-9))), 0), 64)::int END
                FROM unnest(word_weights[:last]) WITH ORDINALITY AS w (weight, place), LATERAL (SELECT share * heaviest / w.weight AS share) AS s
                ORDER BY w.place)
                || floors[last + 1:];
            SELECT coalesce(array_agg(f.id), '{}'), coalesce(array_agg(f.score), '{}') INTO more_ids, more_scores
            FROM (SELECT ARRAY(
                    SELECT w.hash | l.level FROM unnest(hashes[whole + 1:last], lower[whole + 1:last], floors[whole + 1:last]) AS w (hash, low, high),
                        generate_series(w.low, w.high - 1) AS l (level)) AS keys) AS k,
                responsa.passages_with(tenant, collection, subjects, documents, k.keys, k.keys, '{}', '{}', queries, weights, mean_length, 1200) AS f;
            -- If the step was too wide, which of the passages were read is a matter of chance.
            IF cardinality(more_ids) = 1200 AND drop > 0.3 THEN
                share := share + drop / 32;
                drop := drop / 4;
                CONTINUE;
            END IF;
            ids := ids || more_ids;
            scores := scores || more_scores;
            floors := lower;
            IF cardinality(more_ids) >= 10 THEN
                drop := least(drop, 1);
            END IF;
        END LOOP;
        passed := cardinality(ids);
        FOR round IN 1..8 LOOP
            EXIT WHEN last - whole < 2 OR share <= 0 OR reachable <= tenth OR cardinality(ids) - passed >= 120 * (last - whole);
            share := greatest(share - CASE WHEN cardinality(ids) - passed < 10 THEN 4 WHEN cardinality(ids) - passed < 50 THEN 2 ELSE 1 END / 32.0::float8, 0);
            lower := ARRAY(
                SELECT CASE WHEN s.share >= 1 THEN 64
                    ELSE least(greatest(ceil(24 + 4 / ln(2::float8) * ln(greatest(s.share / (1 - s.share) / correction, 1e-9))), 0), 64)::int END
                FROM unnest(word_weights[:last]) WITH ORDINALITY AS w (weight, place), LATERAL (SELECT share * heaviest / w.weight AS share) AS s
                ORDER BY w.place);
            FOR i IN whole + 1..last - 1 LOOP
                -- Without the passages that were read for stronger postings of both words.
                SELECT coalesce(array_agg(f.id), '{}'), coalesce(array_agg(f.score), '{}') INTO more_ids, more_scores
                FROM (SELECT
                        ARRAY(SELECT hashes[i] | l.level FROM generate_series(lower[i], floors[i] - 1) AS l (level)) AS weaker,
                        ARRAY(SELECT hashes[i] | l.level FROM generate_series(floors[i], 63) AS l (level)) AS stronger,
                        ARRAY(SELECT w.hash | l.level FROM unnest(hashes[i + 1:last], lower[i + 1:last]) AS w (hash, low), generate_series(w.low, 63) AS l (level)) AS others,
                        ARRAY(SELECT w.hash | l.level FROM unnest(hashes[i + 1:last], lower[i + 1:last], floors[i + 1:last]) AS w (hash, low, high),
                            generate_series(w.low, w.high - 1) AS l (level)) AS weaker_others
                    ) AS k,
                    responsa.passages_with(
                        tenant, collection, subjects, documents, k.weaker, k.others, k.stronger, k.weaker_others, queries, weights, mean_length, 600) AS f;
                ids := ids || more_ids;
                scores := scores || more_scores;
            END LOOP;
            floors := lower;
        END LOOP;
        RETURN QUERY
            SELECT f.id FROM unnest(ids, scores) AS f (id, score) GROUP BY f.id ORDER BY max(f.score) DESC, f.id LIMIT most;
    END
    $$;
REVOKE ALL ON FUNCTION responsa.passages_with, responsa.search_words FROM public;
GRANT EXECUTE ON FUNCTION responsa.search_words TO responsa_app;
RESET ROLE;
REVOKE CREATE ON SCHEMA responsa FROM responsa_search;
