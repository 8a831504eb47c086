"""Citations as data for protocols that know no messages of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from responsa.chat.v1.citation_pb2 import Citation


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
            "start": len(data[: citation.answer_range.start].decode()),
            "end": len(data[: citation.answer_range.end].decode()),
        }
        for citation in found
    ]
