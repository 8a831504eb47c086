"""What protocols that know no messages of the contract tell of citations."""

from __future__ import annotations

from responsa.chat.v1.citation_pb2 import Citation, CitationState, UnconfirmedSentence
from responsa.type.v1.byte_range_pb2 import ByteRange
from responsa_server.calls.convert.cited import citations, unconfirmed

TEXT = "Sïx. At night."
SIX = ByteRange(start=0, end=5)
QUOTED = Citation(state=CitationState.CITATION_STATE_QUOTED, answer_range=SIX)
SUPPORTED = Citation(state=CitationState.CITATION_STATE_SUPPORTED, answer_range=SIX)


def test_a_citation_tells_its_state() -> None:
    found = citations(TEXT, [QUOTED, SUPPORTED])
    assert [one["state"] for one in found] == ["quoted", "supported"]


def test_an_unconfirmed_sentence_is_a_part_of_the_text_with_what_it_names() -> None:
    named = UnconfirmedSentence(
        answer_range=ByteRange(start=6, end=15),
        passage="passages/p",
        document_version="documents/d/versions/1",
    )
    (found,) = unconfirmed(TEXT, [named])
    assert found == {"document": "documents/d/versions/1", "passage": "passages/p", "start": 5, "end": 14}
