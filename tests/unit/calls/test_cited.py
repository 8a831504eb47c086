"""What protocols that know no messages of the contract tell of citations."""

from __future__ import annotations

from responsa.chat.v1.chat_service_pb2 import AskResponse
from responsa.chat.v1.citation_pb2 import Citation, CitationState, UnconfirmedSentence
from responsa.chat.v1.turn_pb2 import TurnAnswer, TurnEvent
from responsa.type.v1.byte_range_pb2 import ByteRange
from responsa_server.calls.convert.cited import citations, unconfirmed
from responsa_server.transports.openai.following import Reading
from responsa_server.transports.openai.written import Written

TEXT = "Sïx. At night."
SIX = ByteRange(start=0, end=5)
QUOTED = Citation(state=CitationState.CITATION_STATE_QUOTED, answer_range=SIX)
SUPPORTED = Citation(state=CitationState.CITATION_STATE_SUPPORTED, answer_range=SIX)
OLD = Citation(answer_range=SIX)


def test_a_citation_tells_its_state_and_one_of_an_earlier_release_is_unconfirmed() -> None:
    found = citations(TEXT, [QUOTED, SUPPORTED, OLD])
    assert [one["state"] for one in found] == ["quoted", "supported", "unconfirmed"]


def test_an_unconfirmed_sentence_is_a_part_of_the_text_with_what_it_names() -> None:
    named = UnconfirmedSentence(
        answer_range=ByteRange(start=6, end=15),
        passage="passages/p",
        document_version="documents/d/versions/1",
    )
    (found,) = unconfirmed(TEXT, [named])
    assert found == {"document": "documents/d/versions/1", "passage": "passages/p", "start": 5, "end": 14}


def test_an_annotation_of_openai_is_only_what_was_checked() -> None:
    reading = Reading(Written())
    reading.written.add(TEXT)
    reading.written.take(whole=True)
    answer = TurnAnswer(text=TEXT, citations=[QUOTED, SUPPORTED, OLD])
    reading.take(AskResponse(events=[TurnEvent(answer=answer)]))
    assert list(reading.cited()) == [QUOTED, SUPPORTED]
