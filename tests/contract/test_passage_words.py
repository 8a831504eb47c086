"""The words of passages that an earlier release has stored are made while searches go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import psycopg

from responsa_server.domain.people import Server
from responsa_server.ingest.analysing import Analysing
from responsa_server.search.retrieve import Retrieval, ScoredPassage
from responsa_server.stores.postgres.passages import PassageWordsStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People
from tests.contract.library_house import House
from tests.contract.shelf import lexical_of, retriever_of, vectors_of

TEXT = """# Lighthouse Ostmere

The lighthouse was built in 1712. Its lamp burns oil, and its keeper polishes the lenses twice a week.

## Keepers

| Keeper | Since |
|---|---|
| Ada Brunn | 1931 |
| Boris Holm | 1947 |

- Trim the wick of the lamp.
- Write the `lamp_log`.
"""
QUESTIONS = ("Who keeps the lamp of the lighthouse?", "lamp log", "Since when is Boris Holm keeper?")


async def test_the_words_are_those_of_an_upload_and_change_no_search(
    house: House, people: People, database_urls: DatabaseUrls
) -> None:
    await house.take_in(people.ann, TEXT, "lighthouse.md")
    tenant = people.ann.tenant_id
    retriever = retriever_of(house.database, house.embedder)
    analysing = Analysing(
        PassageWordsStore(house.database), lexical_of(house.database), vectors_of(house.database)
    )

    async def searched() -> Sequence[Sequence[ScoredPassage]]:
        found: list[Retrieval] = [await retriever.search(Server(tenant), [one]) for one in QUESTIONS]
        assert all(one.passages for one in found)
        return [_without_words(one.passages) for one in found]

    with psycopg.connect(database_urls.superuser, autocommit=True) as connection:

        def words() -> Sequence[bytes]:
            rows = connection.execute("SELECT words FROM responsa.passage WHERE live ORDER BY ordinal")
            return [one for (one,) in rows]

        uploaded, found = words(), await searched()
        assert uploaded
        assert all(uploaded)
        for earlier in (None, b"\x00of another form"):
            connection.execute("UPDATE responsa.passage SET words = %s", (earlier,))
            assert await searched() == found
            assert await analysing.all() == len(uploaded)
            assert words() == uploaded
            assert await searched() == found
            assert await analysing.all() == 0


def _without_words(passages: Sequence[ScoredPassage]) -> Sequence[ScoredPassage]:
    return [replace(one, found=replace(one.found, words="")) for one in passages]
