"""What readers see of a shared answer that a model has written. The cases of GetShare have an answer of passages."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2
from responsa_server.calls.convert import chat
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.rows import Row

ASKER, READER, OPEN, CLOSED = (UUID(int=number) for number in range(1, 5))
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def test_a_reader_sees_only_citations_of_what_they_may_read() -> None:
    cited = [
        citation_pb2.Citation(
            document_version=f"documents/{one}/versions/1", title="Handbook", quote="28 days.", answer_range=byte_range_pb2.ByteRange(end=4)
        )
        for one in (OPEN, CLOSED)
    ]  # fmt: skip
    # A tool may have returned a document.
    fetched = citation_pb2.Citation(
        title="Wiki", tool_result=citation_pb2.CitedToolResult(tool="tools/knowledge")
    )
    answer = turn_pb2.TurnAnswer(
        text="28 days.", citations=[*cited, fetched], model="openai:gpt", collection="collections/hr",
    )  # fmt: skip
    terminal = turn_pb2.TurnEvent(answer=answer).SerializeToString()

    def seen(*unreadable: UUID) -> turn_pb2.TurnAnswer:
        row = Row(
            id=UUID(int=9), turn_id=UUID(int=8), user_id=ASKER, sharer="Ada", question="How long?",
            create_time=NOW, expire_time=NOW, ask_time=NOW, terminal=terminal, unreadable=unreadable,
        )  # fmt: skip
        read = chat.share(row, Principal("acme", READER, Role.USER, "session"))
        assert read.turn == "", "only the sharer learns the turn"
        assert chat.share(row, Principal("acme", ASKER, Role.USER, "session")).turn == f"turns/{UUID(int=8)}"
        return read.answer

    assert (list(seen().citations), seen().text) == ([*cited, fetched], "28 days.")
    hidden = [
        citation_pb2.Citation(answer_range=one.answer_range, not_permitted=True)
        if one.HasField("answer_range")
        else citation_pb2.Citation(not_permitted=True)
        for one in (cited[1], fetched)
    ]
    assert list(seen(CLOSED).citations)[:2] == [cited[0], hidden[0]]
    assert seen(CLOSED).citations[2].title == ""
    assert (seen(CLOSED).text, seen(CLOSED).collection) == ("28 days.", "")
