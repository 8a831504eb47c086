from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

from uuid_utils.compat import uuid7

from responsa_server.domain.conversations import ConversationStore, Message, Speaker
from responsa_server.domain.events import (
    AnyCitation,
    ByteRange,
    Citation,
    ToolCitation,
    ToolOrigin,
    ToolSource,
)
from responsa_server.domain.knowledge import SourceRef, SourceSlice
from responsa_server.domain.people import Principal, Reader, Role
from responsa_server.domain.turns import Verdict
from responsa_server.turns.conversations import Conversations

WHO = Principal("acme", UUID(int=1), Role.USER, "api_key")


class FixedSources:
    """The sources. A document is the number of its searchable version and the texts of all its versions; a deleted document is None."""

    def __init__(self, documents: Mapping[UUID, tuple[int, Mapping[int, bytes]] | None]) -> None:
        self.documents = documents

    async def sources(self, reader: Reader, wanted: Sequence[SourceRef]) -> Sequence[SourceSlice]:
        assert reader.tenant_id == "acme"
        slices: list[SourceSlice] = []
        for ref in wanted:
            document = self.documents.get(ref.document_id)
            if document is None:
                slices.append(SourceSlice(None, None))
                continue
            current, versions = document
            text = versions.get(ref.version)
            slices.append(
                SourceSlice(current, None if text is None else text[ref.source.start : ref.source.end])
            )
        return slices


class OneMessage:
    """A store that holds one message, and the sources that tools returned to its turn."""

    def __init__(
        self, citations: Sequence[AnyCitation], kept: Mapping[str, Sequence[ToolSource]] | None = None
    ) -> None:
        self.kept = kept or {}
        now = datetime.now(UTC)
        self.held = Message(uuid7(), uuid7(), uuid7(), Speaker.ASSISTANT, "…", citations, None, now)

    async def citations(
        self, caller: Principal, *, turn_id: UUID | None = None, message_id: UUID | None = None
    ) -> Sequence[AnyCitation]:
        return self.held.citations if self.held.turn_id == turn_id or self.held.id == message_id else ()

    async def tool_sources(
        self, caller: Principal, *, turn_id: UUID | None = None, message_id: UUID | None = None
    ) -> Mapping[str, Sequence[ToolSource]]:
        return self.kept


def cite(document: UUID, version: int, quote: str) -> Citation:
    data = quote.encode()
    source = ByteRange(0, len(data))
    return Citation(
        uuid7(), document, version, "", "", source, quote, hashlib.sha256(data).digest(), ByteRange(0, 1), 1.0
    )


async def test_each_citation_is_held_against_the_version_that_is_searched_today() -> None:
    same, newer_same, changed, gone, unsearched = (uuid7() for _ in range(5))
    fixed = FixedSources(
        {
            same: (1, {1: b"long river"}),
            newer_same: (2, {1: b"long river", 2: b"long rivers"}),
            changed: (2, {1: b"long river", 2: b"a long river"}),
            gone: None,
            unsearched: (3, {3: b"lo"}),
        }
    )
    citations = [cite(one, 1, "long") for one in (same, newer_same, changed, gone, unsearched)]
    store = OneMessage(citations)
    conversations = Conversations(cast("ConversationStore", store), fixed, uuid7)
    expected = [
        Verdict.VALID,
        Verdict.VALID,
        Verdict.SOURCE_CHANGED,
        Verdict.SOURCE_DELETED,
        Verdict.SOURCE_CHANGED,
    ]
    for checks in (
        await conversations.verify(WHO, message_id=store.held.id),
        await conversations.verify(WHO, turn_id=store.held.turn_id),
    ):
        assert [check.verdict for check in checks] == expected
        assert [check.citation for check in checks] == citations
    assert await conversations.verify(WHO, turn_id=uuid7()) == []


def fetched(call_id: str, index: int, text: str, quote: str, *, at: int | None = None) -> ToolCitation:
    start = len(text[: text.index(quote)].encode()) if at is None else at
    data = quote.encode()
    return ToolCitation(
        ToolOrigin(call_id, "web_search", index, datetime.now(UTC)),
        "Nile",
        "https://example.org/",
        ByteRange(start, start + len(data)),
        quote,
        hashlib.sha256(data).digest(),
        ByteRange(0, 1),
        1.0,
    )


async def test_a_citation_of_a_tool_is_held_against_the_text_that_the_tool_returned() -> None:
    text = "ü" * 3_000 + " The Nile is 6,650 km long. " + "é" * 3_000
    quote = "The Nile is 6,650 km long."
    document = uuid7()
    citations: list[AnyCitation] = [
        fetched("tool-1", 0, text, quote),
        cite(document, 1, "long"),
        fetched("tool-1", 0, text, quote, at=6_000),
        fetched("tool-1", 1, text, quote),
        fetched("tool-2", 0, text, quote),
    ]
    source = ToolSource("https://example.org/", "Nile", datetime.now(UTC), text)
    store = OneMessage(citations, {"tool-1": [source]})
    fixed = FixedSources({document: (1, {1: b"long river"})})
    conversations = Conversations(cast("ConversationStore", store), fixed, uuid7)
    checks = await conversations.verify(WHO, turn_id=store.held.turn_id)
    assert [check.citation for check in checks] == citations
    assert [check.verdict for check in checks] == [
        Verdict.VALID,
        Verdict.VALID,
        Verdict.SOURCE_CHANGED,
        Verdict.SOURCE_DELETED,
        Verdict.SOURCE_DELETED,
    ]
    shown, place = checks[0].source_text, checks[0].quote_range
    assert place is not None
    assert shown.encode()[place.start : place.end].decode() == quote
    assert shown in text
    assert len(shown.encode()) <= 9 * 1024
    assert [(check.source_text, check.quote_range) for check in checks[1:]] == [("", None)] * 4
