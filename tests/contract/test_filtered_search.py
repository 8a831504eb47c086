"""Filters on documents: what they select, and that words and vectors are searched within the selection."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import psycopg
import pytest
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.knowledge import (
    Chunking,
    CollectionFields,
    SearchMode,
    SearchQuery,
)
from responsa_server.domain.listing import Operator
from responsa_server.domain.lists import SEARCHED
from responsa_server.domain.passages import (
    CandidateQuery,
    DocumentSet,
    LexicalQuery,
    QuestionVector,
    SearchScope,
)
from responsa_server.domain.people import Server
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.vectors import EXACT_PASSAGES
from tests.conftest import DatabaseUrls
from tests.contract.index_writer import (
    IndexWriter,
    VectorsOf,
    fill,
    indexed_at_once,
    lexical_of,
    matching,
    unit_vectors,
)
from tests.contract.library_harness import Harness
from tests.contract.people import People

COLUMNS: Final = (
    "source_key", "uri", "title", "media_type", "language", "author", "labels", "metadata", "date",
)  # fmt: skip
ROWS: Final[Sequence[tuple[Any, ...]]] = (
    (
        "law/a.pdf",
        "https://x.org/a",
        "Rent Act",
        "application/pdf",
        "en",
        "Ada",
        {"team": "legal", "a.b": "1"},
        {"year": 2024, "tags": ["x", "y"]},
        "2024-12-31T23:30Z",
    ),
    (
        "law/b.md",
        "",
        "100% rent_",
        "text/markdown",
        "de",
        "",
        {"team": "sales"},
        {"year": 2025.5, "done": True, "tags": []},
        "2025-01-01T00:00Z",
    ),
    ("hr/c.md", "https://y.org/c", "", "text/markdown", "en", "Bob", {}, {"year": "2025", "who": {"name": "Ann X", "age": 40}}, None),
    (
        "hr/d\\e.txt",
        "",
        "it's \"so\"",
        "text/plain",
        "",
        "ada",
        {"team": "", "draft": "yes"},
        {"done": False, "note": None},
        "2025-06-15T12:00Z",
    ),
    ("e*", "", "E", "text/plain", "en", "Eve", {"team": "legal%"}, {}, "2026-02-03T04:05:06Z"),
)  # fmt: skip

# Each filter with the rows that it selects.
SELECTED: Final[Sequence[tuple[str, str]]] = (
    ('source_key = "law/*"', "ab"), ('source_key != "law/*"', "cde"), ('source_key = "*.md"', "bc"), ('source_key = "*/*.md"', "bc"),
    (r'source_key = "e\*"', "e"), ('source_key = "e*"', "e"), (r'source_key = "hr/d\\e.txt"', "d"), (r'source_key : "\\"', "d"),
    ("uri:X.ORG", "a"), ("uri:*", "ac"), ('title = "100%*"', "b"), ('title = "*rent\\_"', "b"), ("title:rent", "ab"),
    (r'title = "it\'s \"so\""', "d"), ('title > "R"', "ad"), ("media_type = text/*", "bcde"), ("media_type:pdf", "a"),
    ("language = en", "ace"),
    ('language = ""', "d"), ("author = Ada", "a"), ("author:ada", "ad"), ("NOT author:*", "b"),
    ("labels.team = legal", "a"), ("labels.team != legal", "bcde"), ('labels.team = "legal*"', "ae"), ("labels:team", "abde"),
    ("labels.team:*", "abde"),
    ('labels:"*"', "abde"), ("labels.a.b = 1", "a"), ("labels.team:LEG", "ae"), ('labels."draft":*', "d"), ("-labels:team", "c"),
    ("metadata.year = 2024", "a"), ('metadata.year = "2024"', ""), ("metadata.year = 2025", "c"), ("metadata.year >= 2025", "bc"),
    ("metadata.year < 2025", "a"),
    ("metadata.year != 2024", "bcde"), ("metadata.tags : x", "a"), ("metadata.tags : z", ""), ("metadata.tags:*", "ab"),
    ("metadata.done = true", "b"),
    ("metadata.done = false", "d"), ("metadata.note = null", "d"), ("metadata.note:*", ""), ("metadata.who.name:ann", "c"),
    ("metadata.who : age", "c"),
    ("metadata.who.age > 39.5", "c"), ('metadata.who.name = "Ann*"', "c"), ("metadata:year", "abc"), ("metadata.gone < 1", ""),
    ("NOT metadata.gone < 1", "abcde"),
    ("date = 2025", "bd"), ("date != 2025", "ace"), ("date > 2025", "e"), ("date >= 2025", "bde"), ("date < 2025", "a"),
    ("date <= 2025", "abd"),
    ("date = 2024-12-31", "a"), ("date >= 2025-06", "de"), ("date = 2025-01-01T01:00:00+01:00", "b"),
    ('date < "2025-01-01T00:00:00Z"', "a"), ("NOT date < 2030", "c"),
    ("date != 2025-01-01T00:00:00Z", "acde"), ("create_time > 2020", "abcde"), ("update_time < 2020-01", ""),
    ("collection = collections/default", "abcde"),
    ('collection != "collections/def*"', ""), ("collection = collections/other", ""),
    ('title = "\'; DROP TABLE responsa.document; --"', ""),
    ('metadata."\'); --" = 1', ""), ('labels."%(tenant)s" = "{where}"', ""), ("", "abcde"),
)  # fmt: skip


@pytest.fixture
def documents(database_urls: DatabaseUrls, people: People) -> None:
    """The rows, as documents that searches find."""
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute(
            (
                "INSERT INTO responsa.collection (tenant_id, id, slug, owner_id, max_tokens, overlap_tokens, "
                "embedding) VALUES ('acme', 'default', 'default', %s, 500, 50, 'm')"
            ),
            (people.ann.user_id,),
        )
        for row in ROWS:
            values = [Jsonb(value) if isinstance(value, dict) else value for value in row]
            connection.execute(
                "INSERT INTO responsa.document (id, tenant_id, collection_id, owner_id, state, version, size_bytes, sha256, passage_count, "
                f"{', '.join(COLUMNS)}) VALUES (%s, 'acme', 'default', %s, 'ready', 1, 1, sha256(''), 3{', %s' * len(COLUMNS)})".encode(),
                (uuid7(), people.ann.user_id, *values),
            )


class Selecting:
    """Selects documents, and names them by the letters of their rows."""

    def __init__(self, database: Database, url: str) -> None:
        self._lexical = lexical_of(database)
        with psycopg.connect(url) as connection:
            keys = connection.execute("SELECT source_key, id FROM responsa.document").fetchall()
        places = {row[0]: place for place, row in enumerate(ROWS)}
        self._letters = {identity: "abcde"[places[key]] for key, identity in keys}

    async def select(self, text: str, tenant: str = "acme") -> str:
        found = await self._lexical.documents(SearchScope(Server(tenant)), parse_filter(SEARCHED, text))
        assert found.passages == 3 * len(found)
        return "".join(sorted(self._letters[one] for one in found))


async def test_filters_select_documents(
    documents: None, database: Database, database_urls: DatabaseUrls, people: People
) -> None:
    selecting = Selecting(database, database_urls.superuser)
    for text, expected in SELECTED:
        assert await selecting.select(text) == expected, text
    assert await selecting.select(f"owner = users/{people.ann.user_id}") == "abcde"
    assert await selecting.select(f"owner != users/{people.ann.user_id}") == ""
    assert await selecting.select("", "rival") == ""
    # Combinations select what the sets of their parts say.
    rng = random.Random(7)
    for _ in range(60):
        text, expected = combined(rng, 3)
        assert await selecting.select(text) == "".join(sorted(expected)), text


def combined(rng: random.Random, depth: int) -> tuple[str, set[str]]:
    """A random filter, and what it selects."""
    if depth == 0 or rng.random() < 0.2:
        text, expected = rng.choice([one for one in SELECTED if one[0] and len(one[0]) < 24])
        return text, set(expected)
    one, left = combined(rng, depth - 1)
    if rng.random() < 0.3:
        return f"NOT ({one})", set("abcde") - left
    other, right = combined(rng, depth - 1)
    joint = rng.choice(["AND", "OR"])
    return f"({one}) {joint} ({other})", left & right if joint == "AND" else left | right


RUBBISH: Final = (
    "'", '"', "\\", "%", "_", "{where}", "%(tenant)s", "%s", "$1", "--", "; DROP TABLE responsa.document", "' OR true --", "x", "",
    "\u202e", "\U0001f600",
    "\ufffe", "*", "\n", "()", "NULL", "true", "-1", "1e308", "1e-320", "-0.0", "999999999999999999", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59", "9998", "0001", "collections/a", "a" * 300,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
async def test_rubbish_in_a_filter_is_refused_or_compared(
    documents: None, database: Database, database_urls: DatabaseUrls, seed: int
) -> None:
    """The database accepts whatever the parser accepts, and no value leads out of its comparison."""
    selecting, rng = Selecting(database, database_urls.superuser), random.Random(seed)
    accepted = 0
    for _ in range(100):
        text = "".join(rng.choices(RUBBISH, k=rng.choice([1, 1, 2])))
        quoted = text if rng.random() < 0.3 else json.dumps(text, ensure_ascii=False)
        key = json.dumps(rng.choice(RUBBISH), ensure_ascii=False)
        field = rng.choice(
            [
                *(column for column in COLUMNS),
                f"labels.{key}",
                f"metadata.{key}",
                "collection",
                "owner",
                "create_time",
            ]
        )
        comparison = f"{field} {rng.choice(list(Operator)).value} {quoted}"
        try:
            parse_filter(SEARCHED, comparison)
        except InvalidRequest:
            continue
        found = await selecting.select(comparison)
        others = await selecting.select(f"NOT ({comparison})")
        assert sorted(found + others) == list("abcde"), comparison
        assert await selecting.select(f"({comparison}) AND language = none") == "", comparison
        accepted += 1
    assert accepted > 25


async def test_a_rare_label_is_found_among_many(harness: Harness) -> None:
    """The labelled document fits the question worst of all, so no limit leaves it a place unless the index applies the filter."""
    library = harness.library
    await library.create_collection(harness.ann, "rivers", CollectionFields(""), Chunking())
    river = "The Elbe is a long river. The Elbe is deep. The Elbe flows to the sea.\n\n"
    text = "".join(f"## Elbe {number}\n\n{river}" for number in range(130))
    await harness.take_in(harness.ann, text, "rivers.md", collection="rivers")
    for key, label in (("rare.md", "rare"), ("other.md", "usual")):
        rare = "A baker once said that bread is as long to bake as the Elbe is long to walk along.\n"
        await harness.take_in(harness.ann, f"{rare}{key}", key, collection="rivers", labels={"kind": label})

    keys = dict(harness.ask("SELECT id, source_key FROM responsa.document"))
    for mode in SearchMode:
        for text, expected in (
            ("", {"rivers.md"}),
            ("labels.kind = rare", {"rare.md"}),
            ("labels:kind", {"rare.md", "other.md"}),
            ("labels.kind = none", set[str]()),
        ):
            filters = parse_filter(SEARCHED, text)
            query = SearchQuery(("How long is the river Elbe?",), top_k=5, mode=mode, filters=filters)
            hits = await library.search(harness.ann, query)
            assert {keys[hit.passage.document_id] for hit in hits} == expected, (mode, text)


async def test_three_passages_are_found_among_three_thousand(
    index_writer: IndexWriter, database_urls: DatabaseUrls
) -> None:
    """Both ways of searching vectors, and the search by words, find all passages of the documents, although 3,000 others fit better."""
    wanted = unit_vectors(1, 1)[0]
    async with indexed_at_once(database_urls.superuser):
        for number in range(3):
            await fill(index_writer, list(wanted + 0.02 * unit_vectors(number + 2, 1_000)))
        rare = uuid7()
        ids = await fill(index_writer, list(unit_vectors(9, 3)), rare)
    question = QuestionVector("", wanted.astype("<f4").tobytes())
    for passages in (3, EXACT_PASSAGES + 1):
        scope = SearchScope(Server("acme"), None, DocumentSet.of([rare], passages))
        assert set(await VectorsOf(index_writer.database).nearest(scope, question, 100)) == set(ids)
    query = CandidateQuery(["default"], words=[LexicalQuery(["default"], ["x"], [1.0], [3_003], 1, 1.0)])
    for passages in (3, 10_001):
        within = replace(query, documents=DocumentSet.of([rare], passages))
        assert await matching(index_writer.database, Server("acme"), within) == set(ids)
    assert not set(ids) & set(
        await VectorsOf(index_writer.database).nearest(SearchScope(Server("acme")), question, 100)
    )


@pytest.mark.parametrize("passages", [1, EXACT_PASSAGES + 1])
async def test_exact_and_graph_search_stay_within_the_documents(
    index_writer: IndexWriter, embedder: MiniLmEmbedder, passages: int
) -> None:
    """passages: as stated for the set of documents; it decides between the two ways."""
    ids = [await index_writer.put(f"The harbour has {number} piers and a light.") for number in range(12)]
    wanted = embedder.embed_sync(["How many piers has the harbour?"])[0].astype("<f4").tobytes()
    question = QuestionVector(embedder.name, wanted)
    for some in (ids[:1], ids[3:9], ids, []):
        scope = SearchScope(Server("acme"), None, DocumentSet.of(some, passages))
        nearest = await VectorsOf(index_writer.database).nearest(scope, question, 100)
        rows = await lexical_of(index_writer.database).passages(
            Server("acme"), {None: dict.fromkeys(nearest, False)}
        )
        assert {row.passage.document_id for row in rows[None]} == set(some)
    scope = SearchScope(Server("acme"), ["elsewhere"], DocumentSet.of(ids, passages))
    assert not await VectorsOf(index_writer.database).nearest(scope, question, 100)
    assert not await VectorsOf(index_writer.database).nearest(
        SearchScope(Server("rival"), None, DocumentSet.of(ids, passages)), question, 100
    )
