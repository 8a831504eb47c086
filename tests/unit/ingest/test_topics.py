"""A model says where a document's subject changes, over a real protocol; passages then end there, at exact bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import structlog

from responsa_formats.text.canonical import ParsedDocument
from responsa_formats.text.sections import Whole
from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.agents.engine.background_model import BackgroundModel
from responsa_server.app.assemble import ingestion_prompts
from responsa_server.domain.knowledge import Chunking
from responsa_server.ingest.chunk import chunk_document
from responsa_server.ingest.describing import MOST_CALLS, Topics
from tests.formats.office_files import parse
from tests.wire.openai import OpenAi
from tests.wire.speaking import Handler, Scene, complaining, speaking, telling

WIRE = OpenAi()
LOG = structlog.get_logger("ingest")
RIVER = "The Elbe is a river, größer than most. " * 8
BREAD = "Bread is baked from rye and water. " * 8


def paragraphs(count: int = 10) -> ParsedDocument:
    """A document of paragraphs about a river, and then about bread."""
    texts = [RIVER if number <= count // 2 else BREAD for number in range(1, count + 1)]
    return parse("\n\n".join(texts).encode(), "a.md")


def words(text: str) -> Sequence[tuple[int, int]]:
    """One token for each word."""
    places: list[tuple[int, int]] = []
    start = 0
    for word in text.split(" "):
        if word.strip():
            places.append((start, start + len(word)))
        start += len(word) + 1
    return places


async def begins(handler: Handler, document: ParsedDocument) -> frozenset[int]:
    async with speaking(WIRE, handler) as model:
        return await Topics(BackgroundModel(model, "document", ingestion_prompts, seconds=5.0)).begins(
            Whole(document), LOG
        )


def saying(answer: object) -> Handler:
    return telling(WIRE, WIRE.events(Scene([json.dumps(answer)])))


async def test_passages_end_where_the_subject_changes() -> None:
    document = paragraphs()
    data = document.canonical_text.encode()
    bodies: list[str] = []
    say = saying({"begins": [6]})

    async def handle(exchange: LoopbackExchange) -> None:
        bodies.append(json.dumps(WIRE.check(exchange)))
        await say(exchange)

    found = await begins(handle, document)
    assert found == {data.index(BREAD.strip().encode())}
    assert "6: Bread is baked" in bodies[0]
    plain = chunk_document(document, words, Chunking(400, 0))
    cut = chunk_document(document, words, Chunking(400, 0), found)
    assert not any("river" in one.text and "Bread" in one.text for one in cut)
    assert any("river" in one.text and "Bread" in one.text for one in plain)
    for chunks in (plain, cut):
        assert all(data[chunk.byte_start : chunk.byte_end].decode() == chunk.text for chunk in chunks)
        assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(
            document.canonical_text.split()
        )


@pytest.mark.parametrize(
    "answer",
    [{"begins": ["6"]}, {"begins": 6}, {"begins": [6], "more": 1}, {}, [6], "no", {"begins": [10**30]}],
)
async def test_an_answer_that_cannot_be_used_leaves_the_structure(answer: object) -> None:
    found = await begins(saying(answer), paragraphs())
    assert found <= {paragraphs().blocks[5].byte_start}
    if answer != {"begins": ["6"]}:
        assert not found


async def test_numbers_without_a_block_are_ignored() -> None:
    assert await begins(saying({"begins": [0, -1, 11, 2, 2]}), paragraphs()) == {
        paragraphs().blocks[1].byte_start
    }


async def test_a_model_that_fails_leaves_the_structure() -> None:
    assert await begins(complaining(WIRE.complaint(503)), paragraphs()) == frozenset()
    assert await begins(saying({"begins": [1]}), parse(b"Short.\n\nText.", "a.md")) == frozenset()
    assert await Topics().begins(Whole(paragraphs()), LOG) == frozenset()


async def test_a_long_document_costs_a_bounded_number_of_calls() -> None:
    calls = 0
    say = saying({"begins": [1]})

    async def handle(exchange: LoopbackExchange) -> None:
        nonlocal calls
        calls += 1
        await say(exchange)

    found = await begins(handle, paragraphs(600))
    assert calls == len(found) == MOST_CALLS
