"""Searches of users who may read little of a tenant: nothing that they may read is lost among what they may not read."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import psycopg
import pytest
from psycopg import sql
from uuid_utils.compat import uuid7

from responsa_server.domain.passages import (
    CandidateQuery,
    DocumentSet,
    LexicalQuery,
    QuestionVector,
    SearchScope,
)
from responsa_server.domain.people import Principal, Server
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.vectors import EXACT_PASSAGES
from tests.conftest import DatabaseUrls
from tests.contract.index_writer import VectorsOf, indexed_at_once, matching
from tests.contract.people import People

ALL = 4_000
MINE = 4  # 0.1 % of all

# Made-up vectors: for each passage a random one, in a collection and with a subject. The statistics are those that
# publishing would have written.
_FILL = """
WITH made AS (
    INSERT INTO responsa.passage
        (id, tenant_id, collection_id, document_id, version, ordinal, byte_start, byte_end, title, uri, text, language,
            tokens, length, terms, live, subject, analysis)
    SELECT uuidv7(), 'acme', %(collection)s, gen_random_uuid(), 1, 0, 0, 1, '', '', 'x', '', 1, 1, 'x:1'::tsvector, true, %(subject)s, 2
    FROM generate_series(1, %(count)s)
    RETURNING id
), counted AS (
    INSERT INTO responsa.collection_stat (tenant_id, collection_id, passages, terms)
    SELECT 'acme', %(collection)s, CASE %(subject)s WHEN '' THEN %(count)s ELSE 0 END, 0
    ON CONFLICT (tenant_id, collection_id) DO NOTHING
), of_subject AS (
    INSERT INTO responsa.subject_stat (tenant_id, collection_id, subject, passages, terms)
    SELECT 'acme', %(collection)s, %(subject)s, %(count)s, 0 WHERE %(subject)s <> ''
)
INSERT INTO responsa.passage_vector (passage_id, ordinal, tenant_id, collection_id, kind, byte_start, byte_end, embedding)
SELECT id, 0, 'acme', %(collection)s, 'window', 0, 1,
    (SELECT array_agg(random() - 0.5) FROM generate_series(1, 384 + 0 * length(id::text)))::real[]::halfvec
FROM made
"""
_COLLECTION = """
INSERT INTO responsa.collection (tenant_id, id, slug, owner_id, max_tokens, overlap_tokens, embedding)
VALUES ('acme', %s, %s, %s, 500, 50, 'm')
"""
_EXACT = """
SELECT v.passage_id FROM responsa.passage_vector AS v JOIN responsa.passage AS p ON p.id = v.passage_id
WHERE p.collection_id = ANY (%s) AND p.subject = ANY (%s) ORDER BY (v.embedding <=> %s::halfvec) + 0 LIMIT 10
"""


@pytest.mark.parametrize("by_subject", [False, True], ids=["by collection", "by subject"])
async def test_a_user_who_may_read_a_thousandth_finds_what_is_nearest(
    by_subject: bool, database: Database, people: People, database_urls: DatabaseUrls
) -> None:
    own = "theirs" if by_subject else "mine"
    subject = f"users/{people.bob.user_id}" if by_subject else ""
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute("SELECT '[1]'::vector")
        for name, owner in (("theirs", people.ann), ("mine", people.bob)):
            connection.execute(_COLLECTION, (name, name, owner.user_id))
        if by_subject:
            connection.execute(
                "INSERT INTO responsa.collection_reader (tenant_id, collection_id) VALUES ('acme', 'theirs')"
            )
        others = "somebody" if by_subject else ""
        connection.commit()
        async with indexed_at_once(database_urls.superuser):
            for collection, of, count in (("theirs", others, ALL), (own, subject, MINE)):
                connection.execute(_FILL, {"collection": collection, "subject": of, "count": count})
            connection.commit()
    randomness = np.random.default_rng(7)
    index = VectorsOf(database)
    mine = set[UUID]()
    for caller, subjects in ((people.bob, ["", subject]), (Server("acme"), ["", subject, others])):
        right = wanted = 0
        for _ in range(10):
            vector = (randomness.random(384) - 0.5).astype("<f4")
            with psycopg.connect(database_urls.superuser) as connection:
                rows = connection.execute(
                    _EXACT,
                    (
                        [own] if isinstance(caller, Principal) else ["mine", "theirs"],
                        subjects,
                        str(vector.tolist()),
                    ),
                )
                exact: set[UUID] = {row[0] for row in rows}
            found = set(await index.nearest(SearchScope(caller), QuestionVector("m", vector.tobytes()), 100))
            wanted += len(exact)
            right += len(exact & found)
            if isinstance(caller, Principal):
                assert found <= exact
                mine = exact
        assert wanted == 10 * (MINE if isinstance(caller, Principal) else 10)
        if isinstance(caller, Principal):
            assert right >= 0.98 * wanted
    # Nobody else of the tenant, and no other tenant, finds any of it.
    word = CandidateQuery([own], words=[LexicalQuery([own], ["x"], [1.0], [ALL], 1, 1.0)])
    assert await matching(database, people.bob, word) == mine
    vector = (randomness.random(384) - 0.5).astype("<f4").tobytes()
    stranger = Principal("acme", uuid7(), people.bob.role, "api_key")
    for other in (stranger, people.eve):
        assert await index.nearest(SearchScope(other), QuestionVector("m", vector), 100) == {}
        assert await matching(database, other, word) == set()


async def test_a_small_collection_is_searched_whole(
    database: Database, people: People, database_urls: DatabaseUrls
) -> None:
    # A search in the graph ends after as many vectors as it would among a hundred times as many.
    few, question = 150, (np.random.default_rng(7).random(384) - 0.5).astype("<f4")
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute("SELECT '[1]'::vector")
        name = sql.Identifier(connection.info.dbname)
        # Without sorting, the planner follows the graph wherever it may.
        for setting in ("hnsw.max_scan_tuples = 1", "enable_sort = off"):
            connection.execute(sql.SQL("ALTER DATABASE {} SET " + setting).format(name))
        for collection in ("large", "small"):
            connection.execute(_COLLECTION, (collection, collection, people.ann.user_id))
        connection.commit()
        async with indexed_at_once(database_urls.superuser):
            for collection, count in (("large", ALL), ("small", few)):
                connection.execute(_FILL, {"collection": collection, "subject": "", "count": count})
            connection.execute("ANALYZE responsa.passage")
            connection.commit()
        rows = connection.execute(_EXACT, (["small"], [""], str(question.tolist())))
        exact: set[UUID] = {row[0] for row in rows}
        documents = [
            id_
            for (id_,) in connection.execute(
                "SELECT DISTINCT document_id FROM responsa.passage WHERE collection_id = 'small'"
            )
        ]
    for within in (None, DocumentSet.of(documents, EXACT_PASSAGES + 1)):
        scope = SearchScope(Server("acme"), ["small"], within)
        found = await VectorsOf(database).nearest(scope, QuestionVector("m", question.tobytes()), 10)
        assert set(found) == exact
