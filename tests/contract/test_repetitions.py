"""Documents with repeated text do not hide other documents from the vector index."""

from __future__ import annotations

import psycopg

from responsa_server.domain.knowledge import Chunking, CollectionFields
from tests.contract.library_harness import Harness

# All repetitions of a sentence have the same vector.
REPEATED = "The same sentence stands here. " * 500
RIVERS = "# Rivers\n\n" + "".join(
    f"The river number {number} is {100 + number} kilometres long and rises in region {number}.\n\n"
    for number in range(120)
)
# Two numbers: the rivers' vectors that the index finds (or for which it finds a nearly equal one), and all the rivers' vectors.
FOUND = """
SELECT count(*) FILTER (WHERE nearest.distance < 0.001), count(*)
FROM responsa.passage_vector AS v JOIN responsa.passage AS p ON p.id = v.passage_id AND p.title = 'Rivers'
LEFT JOIN LATERAL (
    SELECT n.embedding <=> v.embedding AS distance FROM responsa.passage_vector AS n ORDER BY n.embedding <=> v.embedding LIMIT 1
) AS nearest ON true
"""


EQUAL = "SELECT count(*) FROM responsa.{} GROUP BY embedding::text ORDER BY count(*) DESC LIMIT 1"
"""The greatest number of equal vectors in a table."""


async def test_equal_vectors_are_moved_apart_and_hide_nothing(harness: Harness) -> None:
    await harness.take_in(harness.ann, REPEATED, "repeated.txt")
    await harness.take_in(harness.ann, RIVERS, "rivers.md")
    assert harness.ask(EQUAL.format("passage_vector")) == [(4,)]
    spread = harness.ask(
        "SELECT count(*) > 500, max(v.embedding <=> one.embedding) < 0.002 FROM responsa.passage_vector AS v "
        "JOIN responsa.passage AS p ON p.id = v.passage_id AND p.title <> 'Rivers' "
        "JOIN LATERAL (SELECT embedding FROM responsa.passage_vector AS w WHERE w.passage_id = v.passage_id "
        "AND w.kind = 'sentence' ORDER BY w.ordinal LIMIT 1) AS one ON v.kind = 'sentence'"
    )
    assert spread == [(True, True)]
    options = "-c enable_seqscan=off -c enable_sort=off -c hnsw.ef_search=100"
    with psycopg.connect(harness.urls.superuser, options=options) as connection:
        row = connection.execute(FOUND).fetchone()
    assert row is not None
    found, there = row
    assert there > 120
    assert found >= 0.98 * there


async def test_equal_vectors_of_another_generation_are_moved_apart(harness: Harness) -> None:
    await harness.library.create_collection(harness.ann, "notes", CollectionFields(""), Chunking())
    await harness.take_in(harness.ann, REPEATED, "repeated.txt", collection="notes")
    operation = await harness.library.reindex_collection(harness.ann, "notes")
    async with harness.working():
        assert (await harness.ended(harness.ann, operation)).error is None
    [(equal,)] = harness.ask(EQUAL.format("generation_vector"))
    # The first slice of the work keeps three equal vectors, the second two, and the third one.
    assert equal <= 6
    assert harness.rows(("generation_vector",))["generation_vector"] > 500
