"""What a preview takes: a share of the sessions, a minute, and only what it shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from responsa_etl.domain import DatabaseConnection, DatabaseKind, MadeRow, SourceDocument
from responsa_etl.sources import service
from responsa_etl.sources.reading import PREVIEW_BYTES
from responsa_etl.sources.service import collect_preview
from responsa_server.domain.errors import Precondition

CONNECTION = DatabaseConnection("staff", DatabaseKind.SQLITE, ["*"])


async def rows(made: MadeRow, number: int) -> AsyncGenerator[MadeRow]:
    for _ in range(number):
        yield made


async def test_a_preview_keeps_only_what_it_shows() -> None:
    long = "ä" * 2**19
    made = MadeRow("note", {"id": 7, "note": long}, SourceDocument("note", "7", "A note", long))
    found = await collect_preview("staff", rows(made, 1000))
    assert len(found) <= PREVIEW_BYTES // 2**15
    for one in found:
        assert one.document is not None
        assert (one.row, one.document.text) == ({"id": 7, "note": "ä" * 2**13}, "ä" * 2**13)


async def test_a_preview_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PREVIEW_SECONDS", 0.0)
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[MadeRow]:
        try:
            await asyncio.Event().wait()
            yield MadeRow("note", {}, None)
        finally:
            closed.set()

    with pytest.raises(Precondition, match="The preview took longer than") as caught:
        await collect_preview("staff", endless())
    assert caught.value.metadata == {"connection": "staff", "query": "", "fault": "TIMEOUT"}
    assert closed.is_set()
