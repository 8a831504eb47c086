"""The event of an answer with as many and as large citations as there may be."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import UUID

from responsa.chat.v1 import turn_pb2
from responsa_contract import AnswerOutcome, DifferenceKind, JudgeVerdict, QuoteOrigin
from responsa_server.calls.convert.chat import event as converted
from responsa_server.domain.events import (
    MAX_ANSWER_BYTES,
    MAX_CITATIONS,
    MAX_DIFFERENCES,
    MAX_FULL_CITATIONS,
    MAX_FULL_EVENT_BYTES,
    MAX_QUOTE_BYTES,
    MAX_SHORT_QUOTE_BYTES,
    Answered,
    ByteRange,
    Citation,
    Difference,
    NumberedEvent,
    Usage,
)

PLACE = ByteRange(2**31, 2**31 + 300)
DIFFERENCES = [Difference(DifferenceKind.QUANTITY, PLACE, PLACE)] * MAX_DIFFERENCES
BOXES = ((999, 999, 1000, 1000),) * 4
SHA256 = hashlib.sha256(b"").digest()


def cited(place: int) -> Citation:
    """The citation at a place of an answer, from 0."""
    size = MAX_QUOTE_BYTES if place < MAX_FULL_CITATIONS else MAX_SHORT_QUOTE_BYTES
    return Citation(
        UUID(int=2**127), UUID(int=2**127), 9999, "t" * 200, "https://example.org/" + "u" * 1000, PLACE, "q" * size, SHA256, PLACE, 0.3,
        9999, BOXES, "Sheet2!A4:C4", "2026-11-29", QuoteOrigin.COPIED, JudgeVerdict.SUPPORTED, DIFFERENCES,
    )  # fmt: skip


def encoded(count: int) -> turn_pb2.TurnAnswer:
    citations = [cited(place) for place in range(count)]
    answer = Answered("x" * MAX_ANSWER_BYTES, SHA256, citations, AnswerOutcome.COMPLETE, 4, Usage(7))
    return converted(NumberedEvent(9, 2, datetime(2026, 11, 29, tzinfo=UTC), answer)).answer


def test_beyond_the_first_citations_a_large_answer_has_no_addresses() -> None:
    large, small = encoded(MAX_CITATIONS), encoded(20)
    addresses = [bool(citation.uri) for citation in large.citations]
    assert addresses == [place < MAX_FULL_CITATIONS for place in range(MAX_CITATIONS)]
    assert all(citation.uri for citation in small.citations)
    assert small.ByteSize() < MAX_FULL_EVENT_BYTES < large.ByteSize() < 2 * MAX_FULL_EVENT_BYTES
