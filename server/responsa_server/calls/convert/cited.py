"""Citations as data for protocols that know no messages of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from responsa.chat.v1.citation_pb2 import Citation, CitationState, UnconfirmedSentence
from responsa.type.v1.byte_range_pb2 import ByteRange

UNCONFIRMED: Final = "unconfirmed"
"""The state of a citation that has none, because an earlier release stored it."""


def state(citation: Citation) -> str:
    """The state of a citation: "quoted", "supported" or "unconfirmed"."""
    known = citation.state and citation.state in CitationState.values()
    name = CitationState.Name(citation.state) if known else UNCONFIRMED
    return name.removeprefix("CITATION_STATE_").lower()


def citations(text: str, found: Sequence[Citation]) -> Sequence[Mapping[str, str | int]]:
    """The citations of an answer. text: the answer. `start` and `end` are in its characters, the end exclusive."""
    data = text.encode()
    return [
        {
            "title": citation.title,
            "uri": citation.uri,
            "document": citation.document_version,
            "passage": citation.passage,
            "page": citation.page,
            "quote": citation.quote,
            "state": state(citation),
            **_range(data, citation.answer_range),
        }
        for citation in found
    ]


def unconfirmed(text: str, found: Sequence[UnconfirmedSentence]) -> Sequence[Mapping[str, str | int]]:
    """The sentences of an answer that nothing confirms, as `citations` gives those that something does."""
    data = text.encode()
    return [
        {"document": one.document_version, "passage": one.passage, **_range(data, one.answer_range)}
        for one in found
    ]


def _range(data: bytes, place: ByteRange) -> Mapping[str, int]:
    return {"start": len(data[: place.start].decode()), "end": len(data[: place.end].decode())}
