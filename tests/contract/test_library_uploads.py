from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.calls.status import Code, code
from responsa_server.domain.errors import StorageFull
from responsa_server.domain.knowledge import (
    DocumentMetadata,
)
from tests.contract.library_harness import Harness
from tests.contract.turn_steps import until_somebody_waits
from tests.disks import small_disk

TEXT = "# Rivers\n\nThe Elbe is 1094 kilometres long.\n"


async def test_one_request_id_sent_at_once_makes_one_document(harness: Harness) -> None:
    request_id = uuid7()
    made = await asyncio.gather(*(harness.upload(harness.ann, TEXT, request_id=request_id) for _ in range(8)))
    assert len({operation.id for operation in made}) == 1
    assert harness.rows()["document"] == 1


async def test_an_upload_has_no_name_while_it_comes(harness: Harness) -> None:
    seen: list[list[Path]] = []

    async def looking() -> AsyncIterator[bytes]:
        for number in range(48):
            yield b"word " * 10_000
            if number == 47:
                seen.append(list(harness.spool.iterdir()))

    await harness.library.upload(harness.ann, DocumentMetadata("", "a.txt"), looking(), None)
    assert seen == [[]]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
async def test_a_large_upload_finds_the_disk_of_the_server_full(harness: Harness) -> None:
    with small_disk(harness.spool, "1m"):
        with pytest.raises(StorageFull) as raised:
            await harness.upload(harness.ann, TEXT * 40_000)
        assert raised.value.metadata == {"part": "disk"}
        assert code(raised.value) is Code.RESOURCE_EXHAUSTED
        await harness.upload(harness.ann, TEXT)
    await harness.upload(harness.ann, TEXT * 40_000)


async def test_uploads_that_wait_for_a_document_do_not_hold_up_others(harness: Harness) -> None:
    await harness.upload(harness.ann, TEXT)
    with psycopg.connect(harness.urls.superuser) as holder:
        holder.execute("SELECT FROM responsa.document FOR UPDATE")
        held = [asyncio.create_task(harness.upload(harness.ann, f"{TEXT}{number}")) for number in range(2)]
        await until_somebody_waits(harness.urls, held[0], 2)
        async with asyncio.timeout(20):
            await harness.upload(harness.bob, TEXT, "other.md")
        holder.rollback()
        await asyncio.gather(*held)


async def test_some_new_operations_delete_old_ones(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [await harness.take_in(harness.ann, TEXT, f"{number}.md") for number in range(3)]
    harness.ask(
        "UPDATE responsa.operation SET update_time = now() - interval '31 days' WHERE id <> %s", old[0].id
    )
    # Which of the new ones do so depends on their ids.
    for more, left in ((1, 4), (0, 3)):
        monkeypatch.setattr(harness.documents, "_new_id", lambda more=more: UUID(int=uuid7().int & ~7 | more))
        await harness.upload(harness.ann, TEXT, f"new{more}.md")
        assert harness.rows()["operation"] == left
