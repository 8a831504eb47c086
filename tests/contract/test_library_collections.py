from __future__ import annotations

from dataclasses import replace

import pytest

from responsa_server.domain.errors import (
    NotFound,
)
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.knowledge import (
    Chunking,
)
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.lists import DOCUMENTS
from tests.contract.conftest import People
from tests.contract.library_house import House


async def test_lists_are_filtered_ordered_and_paged(house: House, people: People) -> None:
    for number in range(7):
        await house.upload(
            people.ann, f"# Part {number}\n\ntext", f"part-{number}.md", title=f"Part {number}"
        )
    await house.upload(people.ann, "<p>page</p>", "z.html")
    library = house.library

    async def keys(query: ListQuery) -> list[str]:
        found = list[str]()
        while True:
            page = await library.documents.list(people.ann, "default", query)
            found += [document.source_key for document in page.items]
            if page.next_after is None:
                return found
            assert len(page.items) == query.limit
            query = replace(query, after=page.next_after)

    names = [f"part-{number}.md" for number in range(7)] + ["z.html"]
    assert await keys(ListQuery(3, Order("source_key"))) == names
    assert await keys(ListQuery(4, Order("source_key", descending=True))) == names[::-1]
    assert await keys(ListQuery(3, Order("create_time"))) == names
    assert await keys(ListQuery(2, Order("update_time", descending=True))) == names[::-1]

    async def filtered(text: str) -> list[str]:
        return await keys(ListQuery(3, Order("source_key"), filters=parse_filter(DOCUMENTS, text)))

    assert await filtered("media_type = text/html") == ["z.html"]
    assert await filtered('title : "pART 3" AND state = INDEXING') == ["part-3.md"]
    assert await filtered("state != INDEXING") == []
    with pytest.raises(NotFound):
        await library.documents.list(people.ann, "lakes", ListQuery(3, Order("source_key")))
    for name in ("b", "a", "c"):
        await library.create_collection(people.ann, name, f"The {name}", Chunking())
    page = await library.collections.list(people.ann, ListQuery(2, Order("name")))
    assert [item.id for item in page.items] == ["a", "b"]
    page = await library.collections.list(people.ann, ListQuery(2, Order("name"), page.next_after))
    assert [item.id for item in page.items] == ["c", "default"]
    assert page.next_after is None
